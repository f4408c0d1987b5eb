"""One complete small run: every file of its folder, and what the report says."""

import json
import sys

import numpy as np
import pytest
import torch

import sparseagent as sa
from sparseagent.train import RunConfig, run, write_report
from sparseagent.train.records import read_rows, write_rows

FILES = [
    *("config.json", "strategy.json", "machine.json", "report.md"),
    *("dense.zip", "pruned.zip", "tiny.zip", "sparsifier.pt"),
    *("policy.safetensors", "dense.safetensors", "tiny.safetensors"),
    *("learning_curve.csv", "episodes.csv", "latency.csv", "layers.csv"),
    *("agents.csv", "parity.csv"),
    *("plots/learning_curve.png", "plots/returns.png", "plots/latency.png", "plots/layers.png"),
]


def test_the_run_keeps_its_promises(finished_run):
    _, outcome = finished_run
    assert outcome.ok
    assert outcome.sparsity_reached
    assert outcome.parity_holds


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_there(finished_run, name):
    _, outcome = finished_run
    assert (outcome.folder / name).stat().st_size > 0


def test_no_checkpoint_is_left(finished_run):
    _, outcome = finished_run
    assert not list(outcome.folder.rglob("step_*"))
    assert not list(outcome.folder.rglob("*.part*"))


def test_the_configuration_is_written(finished_run):
    config, outcome = finished_run
    assert RunConfig.load(outcome.folder / "config.json") == config


def test_the_sparsity_is_exact(finished_run):
    """4-16-16-2: 352 weights, of which a tenth stays."""
    _, outcome = finished_run
    rows = {row["agent"]: row for row in read_rows(outcome.folder / "agents.csv")}
    assert (rows["pruned"]["weights"], rows["pruned"]["kept"]) == ("352", "35")
    assert rows["dense"]["kept"] == "352"
    assert int(rows["pruned"]["effective"]) <= 35
    assert sum(int(row["kept"]) for row in read_rows(outcome.folder / "layers.csv")) == 35
    masks = torch.load(outcome.folder / "sparsifier.pt", weights_only=True)
    assert masks["frozen"] is False or masks["reached"] == 0.9


def test_the_tiny_agent_has_as_many_weights(finished_run):
    _, outcome = finished_run
    rows = {row["agent"]: row for row in read_rows(outcome.folder / "agents.csv")}
    assert rows["tiny"]["network"] == "4-4-4-2"  # 40 weights; 4-3-3-2 would have 27
    assert rows["tiny"]["kept"] == "40"


def test_all_agents_played_the_same_number_of_episodes(finished_run):
    config, outcome = finished_run
    rows = read_rows(outcome.folder / "episodes.csv")
    for agent in ("dense", "pruned", "tiny"):
        played = [row for row in rows if row["agent"] == agent]
        assert [int(row["episode"]) for row in played] == list(range(config.eval_episodes))
        assert all(float(row["return"]) == int(row["length"]) for row in played)  # CartPole


def test_the_policies_load_and_tell_where_they_come_from(finished_run):
    config, outcome = finished_run
    returns = [
        float(row["return"])
        for row in read_rows(outcome.folder / "episodes.csv")
        if row["agent"] == "pruned"
    ]
    policy = sa.load(outcome.folder / "policy.safetensors")
    assert policy.metadata["environment"] == config.env
    assert policy.metadata["evaluated_return"]["mean"] == pytest.approx(np.mean(returns))
    result = sa.rollout(
        sa.compile(policy), config.env, episodes=config.eval_episodes, seed=1_000_003
    )
    assert result.returns.tolist() == returns


def test_the_learning_curve_shows_the_schedule(finished_run):
    config, outcome = finished_run
    rows = read_rows(outcome.folder / "learning_curve.csv")
    pruned = [row for row in rows if row["agent"] == "pruned"]
    assert {row["agent"] for row in rows} == {"dense", "pruned", "tiny"}
    sparsity = [float(row["sparsity"]) for row in pruned]
    assert sparsity == sorted(sparsity)
    assert sparsity[0] == 0
    assert sparsity[-1] == pytest.approx(0.9, abs=0.002)
    early = [row for row in pruned if int(row["timesteps"]) < 0.2 * config.total_timesteps]
    assert early
    assert all(float(row["sparsity"]) == 0 for row in early)


def test_the_latency_table_has_all_contenders(finished_run):
    _, outcome = finished_run
    rows = {row["contender"]: row for row in read_rows(outcome.folder / "latency.csv")}
    assert list(rows) == [
        "pruned agent, compiled",
        "pruned agent, our dense kernel",
        "tiny dense agent, compiled",
        "dense agent, compiled",
        "dense agent, NumPy",
        "dense agent, torch",
        "dense agent, model.predict",
    ]
    assert all(0 < float(row["p50_ns"]) <= float(row["p99_ns"]) for row in rows.values())


def test_the_report_says_it_in_its_first_lines(finished_run):
    _, outcome = finished_run
    text = (outcome.folder / "report.md").read_text()
    first = text.split("## Agents")[0]
    assert "In this one training the pruned agent returned" in first
    assert "the tiny dense one with as many weights" in first
    assert "keeps 35 of 352 weights" in first
    assert "one training" in first
    for part in ("sparseagent run ...", "load average", "instruction sets", "numpy", "plots/"):
        assert part in text
    assert "FAILED" not in text


def test_a_finished_run_is_not_done_again(finished_run, quiet):
    config, outcome = finished_run
    before = (outcome.folder / "episodes.csv").stat().st_mtime_ns
    assert run(config, display=quiet).ok
    assert (outcome.folder / "episodes.csv").stat().st_mtime_ns == before


def test_the_report_is_made_of_the_raw_files(finished_run, tmp_path):
    """Other returns and a broken parity in the tables: another verdict in the report."""
    _, outcome = finished_run
    for name in FILES:
        if name.endswith((".csv", ".json")):
            (tmp_path / name).write_text((outcome.folder / name).read_text())
    episodes = read_rows(tmp_path / "episodes.csv")
    for row in episodes:
        row["return"] = {"dense": 10, "pruned": 30, "tiny": 20}[row["agent"]]
    write_rows(tmp_path / "episodes.csv", list(episodes[0]), episodes)
    parity = read_rows(tmp_path / "parity.csv")
    parity[1]["different"] = "3"
    write_rows(tmp_path / "parity.csv", list(parity[0]), parity)
    text = write_report(tmp_path).read_text()
    assert "In this one training the pruned agent returned 30.0" in text
    assert "cannot be told from fewer than 3 training seeds" in text
    assert not any(words in text for words in ("pays", "buys nothing", "as good as", "better"))
    assert "FAILED: the compiled policy does not act like the model (pruned)" in text


def test_three_seeds_bear_a_verdict(finished_run, tmp_path):
    _, outcome = finished_run
    for name in FILES:
        if name.endswith((".csv", ".json")):
            (tmp_path / name).write_text((outcome.folder / name).read_text())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "seeds": [0, 1, 2]}))
    episodes = read_rows(tmp_path / "episodes.csv")
    for row in episodes:
        row["return"] = {"dense": 10, "pruned": 30, "tiny": 20}[row["agent"]]
    others = ("agents.csv", "parity.csv", "layers.csv")
    tables = {"episodes.csv": episodes, **{name: read_rows(tmp_path / name) for name in others}}
    for name, rows in tables.items():
        thrice = [{**row, "seed": seed} for seed in "012" for row in rows]
        write_rows(tmp_path / name, list(rows[0]), thrice)
    text = write_report(tmp_path).read_text()
    assert "The pruned agent is better than the dense one: return 30.0" in text
    assert "is worse than the pruned one: here pruning pays" in text


def test_a_report_needs_a_finished_run(tmp_path):
    with pytest.raises(ValueError, match="folder: expected a finished run"):
        write_report(tmp_path)


def test_two_seeds_and_normalised_observations(tiny_config, tmp_path, quiet):
    config = tiny_config(
        tmp_path / "run", total_timesteps=512, seeds=(0, 5), normalize=True, eval_episodes=3
    )
    outcome = run(config, display=quiet)
    assert outcome.ok
    assert (tmp_path / "run" / "dense_vecnormalize.pkl").exists()
    assert (tmp_path / "run" / "seed_5" / "policy.safetensors").exists()
    rows = read_rows(tmp_path / "run" / "episodes.csv")
    assert {(row["agent"], row["seed"]) for row in rows} == {
        (agent, seed) for agent in ("dense", "pruned", "tiny") for seed in ("0", "5")
    }
    assert not sa.load(tmp_path / "run" / "policy.safetensors").observation.is_identity
    text = (tmp_path / "run" / "report.md").read_text()
    assert "The interval covers training seeds and episodes." in text


def test_extra_finetuning_gives_the_pruned_agent_more_steps(tiny_config, tmp_path, quiet):
    config = tiny_config(tmp_path / "run", total_timesteps=512, finetune_timesteps=256)
    run(config, display=quiet)
    rows = {row["agent"]: row for row in read_rows(tmp_path / "run" / "agents.csv")}
    assert int(rows["dense"]["timesteps"]) == 512
    assert int(rows["pruned"]["timesteps"]) == 768
    strategy = json.loads((tmp_path / "run" / "strategy.json").read_text())
    assert "256 extra ones" in strategy["how"]


def test_the_train_package_loads_no_torch_by_itself():
    import subprocess

    code = "import sparseagent.train, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
