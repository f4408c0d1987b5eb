"""The search on a real run: what it trains, writes and finds again."""

from dataclasses import replace
from pathlib import Path

import pytest

import sparseagent as sa
from sparseagent.train.records import read_rows
from sparseagent.train.search_run import _space, policy_of, search_run


@pytest.fixture(scope="module")
def searched(tiny_config, tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("search") / "run", total_timesteps=1024)
    # Any return will do: the search has to work, not to find much.
    return config, search_run(config, 2, share=0.01)


def test_the_candidates_are_trained_tested_and_written(searched):
    config, result = searched
    assert len(result.candidates) == 2
    rows = read_rows(result_table(config))
    for row, candidate in zip(rows, result.candidates, strict=True):
        assert float(row["iqm"]) == pytest.approx(candidate.iqm)
        assert candidate.latency > 0
        policy = sa.load(policy_of(config, candidate.choice))
        # 4-16-16-2: 352 weights; neurons that lead nowhere are left out of a policy.
        assert 0 < policy.nnz <= round((1 - candidate.choice.actor_sparsity) * 352)
        assert policy.metadata["evaluated_return"]["iqm"] == pytest.approx(candidate.iqm)


def test_the_dense_agent_is_that_of_the_run(searched):
    config, result = searched
    folder = result_table(config).parent
    dense = sa.load(folder / "dense.safetensors")
    assert dense.nnz == 352
    assert result.threshold == pytest.approx(0.01 * dense.metadata["evaluated_return"]["iqm"])


def test_the_same_call_trains_nothing_again(searched):
    config, result = searched
    files = sorted(result_table(config).parent.rglob("*.zip"))
    times = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 3
    assert search_run(config, 2, share=0.01) == result
    assert [file.stat().st_mtime_ns for file in files] == times


def test_another_share_is_another_search(searched):
    config, _ = searched
    with pytest.raises(ValueError, match="storage: expected a search with"):
        search_run(config, 2, share=0.5)


def test_a_pattern_that_splits_the_budget_leaves_nothing_to_search(tiny_config, tmp_path):
    config = replace(tiny_config(tmp_path / "run"), pattern="neurons", allocation="pattern")
    with pytest.raises(ValueError, match="allocation: expected one of the allocations"):
        search_run(config, 2)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"schedule": "automatic"}, {}, "schedule: expected one that reaches the sparsity"),
        ({"mask_gradients": True, "grow": "random"}, {}, "mask_gradients: expected False"),
        ({"drop_fraction": 0.5}, {}, "drop_fraction: expected 0.3"),
        ({"score": "movement"}, {"allocations": ("lamp",)}, "allocation: expected another one"),
        ({}, {"share": 3.0}, r"share: expected a share in \(0, 1\], got 3.0"),
        ({}, {"trials": 0}, "trials: expected an int"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_training(
    settings, options, message, tiny_config, tmp_path
):
    config = tiny_config(tmp_path / "run", **settings)
    with pytest.raises(ValueError, match=message):
        search_run(config, **{"trials": 2, **options})
    assert not list(tmp_path.iterdir())


def test_what_is_given_is_not_searched(tiny_config):
    def searched(algo="ppo", allocations=None, **overrides):
        space = _space(tiny_config("run", algo=algo, hyperparameters={}, **overrides), allocations)
        return space.allocations, space.critic_density is not None

    usual = ("erk", "lamp", "global")
    assert searched() == (usual, False)
    assert searched("sac") == (usual, True)
    assert searched("sac", critic_sparsity=0.5) == (usual, False)
    assert searched(score="movement") == (("erk", "global"), False)
    assert searched(allocation="uniform") == (("uniform",), False)
    assert searched(allocations=("erk",)) == (("erk",), False)


def test_a_candidate_that_cannot_be_made_is_recorded(tiny_config, tmp_path, quiet):
    """A block has 16 weights; at 0.949 the first layer would keep 12 of its 128."""
    config = tiny_config(
        tmp_path / "run", total_timesteps=256, pattern="block_16x1", net_arch=(32, 16)
    )
    result = search_run(config, 2, share=0.01, allocations=("erk",), display=quiet)
    rows = read_rows(result_table(config))
    made = [row for row in rows if row["policy"]]
    assert len(rows) == len(result.candidates) == 2
    assert len(made) == 1
    for row in rows:
        assert (row["iqm"] == "-inf") == (row["latency"] == "inf") == (not row["policy"])
    assert all((tmp_path / "run" / row["policy"]).exists() for row in made)
    # Its own files are all that it throws away to start anew.
    again = search_run(
        config, 1, share=0.5, allocations=("uniform",), overwrite=True, display=quiet
    )
    assert [candidate.choice.allocation for candidate in again.candidates] == ["uniform"]


def result_table(config):
    return Path(config.out) / "candidates.csv"
