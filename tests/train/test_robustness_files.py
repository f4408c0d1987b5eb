"""Robustness of policy files: what is written, grouped and drawn."""

from __future__ import annotations

import numpy as np
import pytest

import sparseagent as sa
from sparseagent.report import estimate
from sparseagent.robustness import observation_std, robustness
from sparseagent.train.policy_files import policy_files
from sparseagent.train.records import read_rows
from sparseagent.train.robustness_files import (
    ROBUSTNESS_COLUMNS,
    draw_robustness,
    measure_files,
    read_robustness,
)
from sparseagent.train.robustness_page import write_robustness_page

ENV = "CartPole-v1"


def make_policy(path, speed: float, **facts):
    """Pushes where the pole leans and turns."""
    weight = np.array([[0, 0, -1, -speed], [0, 0, 1, speed]], dtype=np.float32)
    layer = sa.Layer(sa.CSR.from_dense(weight), np.zeros(2, dtype=np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((4,))), sa.Argmax())
    path.parent.mkdir(parents=True, exist_ok=True)
    policy.with_metadata(environment=ENV, **facts).save(path)
    return policy


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "policies"
    for seed, speed in enumerate((0.2, 0.1, 0.4)):
        facts = {"agent": "dense", "training_seed": seed}
        make_policy(root / f"seed{seed}" / "dense.safetensors", speed / 2, **facts)
        facts = {"agent": "pruned", "training_seed": seed}
        make_policy(root / f"seed{seed}" / "pruned.safetensors", speed, **facts)
    return root


def test_policy_files_are_found_in_order(folder):
    found = policy_files([folder])
    assert [file.relative_to(folder).as_posix() for file in found] == [
        f"seed{seed}/{agent}.safetensors" for seed in range(3) for agent in ("dense", "pruned")
    ]
    assert policy_files([found[3], found[0]]) == [found[3], found[0]]
    with pytest.raises(ValueError, match="each policy file once"):
        policy_files([folder, found[0]])
    with pytest.raises(ValueError, match="got none"):
        policy_files([folder / "seed0", (folder / "empty").mkdir() or folder / "empty"])


def test_the_table_is_what_robustness_says_under_common_noise(folder, tmp_path):
    files = policy_files([folder])
    said = []
    rows = measure_files(
        files,
        tmp_path / "out" / "table.csv",
        noise_levels=(0.3,),
        parameters=["push force"],
        episodes=4,
        seed=2,
        say=said.append,
    )
    written = read_rows(tmp_path / "out" / "table.csv")
    assert tuple(written[0]) == ROBUSTNESS_COLUMNS
    assert [{key: str(value) for key, value in row.items()} for row in rows] == written
    assert len(rows) == 6 * (2 + 7)
    assert said[-1] == "6/6 seed2/pruned.safetensors"
    acts = [sa.compile(sa.load(file)) for file in files]
    alone = robustness(
        acts[1],
        ENV,
        noise_levels=(0.3,),
        noise_std=observation_std(acts, ENV, seed=2),
        parameters=(),
        episodes=4,
        seed=2,
    )
    found = [row for row in rows if row["policy"] == "seed0/pruned.safetensors"]
    assert [row["mean"] for row in found[:2]] == [row.mean for row in alone.rows]
    assert {(row["agent"], row["training_seed"]) for row in found} == {("pruned", 0)}


def test_agents_are_grouped_over_their_seeds(folder, tmp_path, monkeypatch):
    from sparseagent.train import robustness_files

    drawn = {}

    def keep(panels, path, **kwargs):
        drawn.update(panels=panels, **kwargs)
        return path

    table = tmp_path / "table.csv"
    rows = measure_files(policy_files([folder]), table, noise_levels=(), episodes=5)
    monkeypatch.setattr(robustness_files, "disturbance_curves", keep)
    draw_robustness(table, tmp_path / "plot.png")
    assert list(drawn["panels"]) == ["pole length", "pole mass", "push force"]
    assert drawn["unchanged"] == {"pole length": 1.0, "pole mass": 1.0, "push force": 1.0}
    dense, pruned = drawn["panels"]["pole length"]
    assert (dense.label, pruned.label) == ("dense", "pruned")
    assert pruned.x.tolist() == [0.125, 0.25, 0.5, 1, 2, 4, 8]
    over_seeds = estimate(
        [
            row["mean"]
            for row in rows
            if (row["agent"], row["disturbance"], row["level"]) == ("pruned", "pole length", 2.0)
        ]
    )
    assert (pruned.value[-1], pruned.low[-1], pruned.high[-1]) == (
        over_seeds.value,
        over_seeds.low,
        over_seeds.high,
    )


def test_files_that_do_not_tell_agents_apart_go_by_their_names(tmp_path):
    make_policy(tmp_path / "p" / "a.safetensors", 0.1, agent="pruned", training_seed=0)
    make_policy(tmp_path / "p" / "b.safetensors", 0.2, agent="pruned", training_seed=0)
    table = tmp_path / "table.csv"
    rows = measure_files(policy_files([tmp_path / "p"]), table, parameters=(), episodes=2)
    assert {row["agent"] for row in rows} == {"a", "b"}
    assert draw_robustness(table, tmp_path / "plot.png").stat().st_size > 10_000


def test_refusals(tmp_path):
    make_policy(tmp_path / "a.safetensors", 0.1)
    other = sa.load(tmp_path / "a.safetensors").with_metadata(environment="Acrobot-v1")
    other.save(tmp_path / "b.safetensors")
    files = policy_files([tmp_path])
    out = tmp_path / "table.csv"
    with pytest.raises(ValueError, match="do not name one environment"):
        measure_files(files, out)
    with pytest.raises(ValueError, match=r"parameter: expected one of .*'pole mass'"):
        measure_files(files[:1], out, parameters=["mass"])
    with pytest.raises(ValueError, match="at least one policy file"):
        measure_files([], out)
    assert not out.exists()


@pytest.fixture
def table(folder, tmp_path):
    out = tmp_path / "table.csv"
    files = policy_files([folder])[:2]
    measure_files(files, out, noise_levels=(0.3,), parameters=["pole mass"], episodes=2)
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:1], "at least one row"),
        (lambda lines: [], "a CSV table"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], "a last line that ends"),
        (lambda lines: [*lines, lines[-1]], "each row once"),
        (lambda lines: lines[:-1], r"each level of .*pruned\.safetensors .* got no pole mass 8"),
        (lambda lines: [lines[0], lines[1].replace(ENV, "Acrobot-v1"), *lines[2:]], "one env"),
        (lambda lines: [lines[0], lines[1].replace("dense,", "x,", 1), *lines[2:]], "one agent"),
        (lambda lines: [line.replace("True", "yes") for line in lines], "True or False"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(change, message, table, tmp_path):
    assert read_robustness(table)
    lines = change(table.read_text().splitlines(keepends=True))
    table.write_text("".join(lines))
    for use in (
        lambda: draw_robustness(table, tmp_path / "plot.png"),
        lambda: write_robustness_page(table, tmp_path / "page.md", tmp_path / "plot.png"),
    ):
        with pytest.raises(ValueError, match=f"table: expected {message}") as error:
            use()
        assert str(table) in str(error.value)
        assert "measure again with `sparseagent robustness`" in str(error.value)
    assert not (tmp_path / "page.md").exists()
    assert not (tmp_path / "plot.png").exists()
