"""The search on a real run: what it trains, writes and finds again."""

from dataclasses import replace
from pathlib import Path

import pytest

import sparseagent as sa
from sparseagent.train.records import read_rows
from sparseagent.train.search_run import policy_of, search_run


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


def result_table(config):
    return Path(config.out) / "candidates.csv"
