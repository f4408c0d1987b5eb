import numpy as np
import pytest

from sparseagent.train.summary import difference, returns_by_agent, summarise


def test_equal_returns_give_an_interval_of_no_width():
    found = summarise(np.full((1, 100), 500.0))
    assert (found.iqm, found.low, found.high, found.std, found.episodes) == (500, 500, 500, 0, 100)
    assert str(found) == "500.0 [500.0, 500.0]"


def test_the_interval_holds_the_iqm_and_shrinks_with_more_episodes():
    random = np.random.default_rng(0)
    few, many = (summarise(random.normal(100, 10, (1, n))) for n in (20, 2000))
    assert few.low < few.iqm < few.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_several_seeds_widen_the_interval():
    """Episodes of one seed are alike, the seeds differ: the seeds are what matters."""
    random = np.random.default_rng(0)
    by_seed = random.normal(100, 20, (5, 1)) + random.normal(0, 1, (5, 100))
    together, apart = summarise(by_seed.reshape(1, -1)), summarise(by_seed)
    assert apart.iqm == together.iqm
    assert apart.high - apart.low > 2 * (together.high - together.low)


def test_paired_episodes_show_a_small_difference():
    random = np.random.default_rng(0)
    starts = random.normal(100, 30, (1, 200))
    better = difference(starts + 2, starts)
    assert better.verdict == "better"
    assert better.value == pytest.approx(2)
    assert difference(starts, starts + 2).verdict == "worse"
    assert difference(starts, starts.copy()).verdict == "equal"
    assert difference(starts, random.permutation(starts, axis=1)).verdict == "equal"


def test_rows_become_arrays_by_agent():
    rows = [
        {"agent": agent, "seed": str(seed), "return": str(100 * seed + episode)}
        for agent in ("dense", "tiny")
        for seed in (0, 1)
        for episode in range(3)
    ]
    found = returns_by_agent(rows)
    assert list(found) == ["dense", "tiny"]
    assert found["tiny"].tolist() == [[0, 1, 2], [100, 101, 102]]
    with pytest.raises(ValueError, match="equally many episodes"):
        returns_by_agent(rows[:-1])
    with pytest.raises(ValueError, match="second: expected shape"):
        difference(found["dense"], found["tiny"][:1])
