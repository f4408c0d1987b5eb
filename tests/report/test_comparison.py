"""Comparisons against values worked out by hand, enumeration, and the truth."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from sparseagent.report import (
    Estimate,
    aggregate,
    estimate,
    improvement,
    iqm,
    mean_share_of_dense,
    normalise,
    optimality_gap,
    paired_differences,
    performance_profile,
    probability_of_improvement,
    profile_band,
    share_of_dense,
    stratified_bootstrap_interval,
)


def by_seed(*returns: float) -> dict[int, float]:
    return dict(enumerate(returns))


def test_paired_differences_by_hand() -> None:
    method, dense = {3: 90.0, 1: 110.0, 2: 100.0}, {1: 100.0, 2: 100.0, 3: 100.0}
    assert paired_differences(method, dense).tolist() == [-10.0, 10.0, 0.0]
    assert (-paired_differences(method, dense)).tolist() == [10.0, -10.0, 0.0]


def test_pairing_makes_a_small_difference_visible() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(100, 30, 10)
    dense, method = by_seed(*hard), by_seed(*(hard - 2 + rng.normal(0, 0.5, 10)))
    paired = estimate(paired_differences(method, dense))
    assert paired.excludes(0.0)
    assert paired.value == pytest.approx(-2, abs=0.5)
    unpaired = estimate(list(method.values()))
    assert unpaired.high - unpaired.low > 10 * (paired.high - paired.low)


def test_interval_of_a_mean_difference_of_two_seeds_by_hand() -> None:
    differences = paired_differences(by_seed(5.0, 9.0), by_seed(4.0, 4.0))
    # A resample of (1, 5) has mean 1, 3 or 5 with probability 1/4, 1/2, 1/4.
    assert estimate(differences, np.mean) == Estimate(3.0, 1.0, 5.0)
    assert estimate(differences, np.mean, confidence=0.4) == Estimate(3.0, 3.0, 3.0)


def test_estimate_of_several_tasks() -> None:
    table = np.random.default_rng(1).normal(size=(6, 3))
    named = {f"task {k}": table[:, k] for k in range(3)}
    assert estimate(table) == estimate(named)
    assert (estimate(named).low, estimate(named).high) == stratified_bootstrap_interval(table)
    assert estimate(named).value == iqm(table)
    # Tasks may differ in their runs: here no resample differs from the sample.
    assert estimate({"a": [1.0] * 3, "b": [4.0]}, np.mean) == Estimate(1.75, 1.75, 1.75)


def test_normalise_by_hand_and_under_shifts_of_the_task() -> None:
    assert normalise([-500.0, -80.0, -290.0, -59.0], random=-500, dense=-80).tolist() == [
        *(0.0, 1.0, 0.5),
        pytest.approx(1.05),
    ]
    shifted = normalise(np.array([-290.0]) * 2 + 7, random=-993, dense=-153)
    assert shifted.tolist() == [0.5]
    for random, dense in ((0.0, 0.0), (1.0, 0.0), (0.0, np.nan), (-np.inf, 0.0)):
        with pytest.raises(ValueError, match="above the random policy's"):
            normalise([1.0], random=random, dense=dense)


def test_share_of_dense_by_hand() -> None:
    share = share_of_dense(by_seed(-94.0), by_seed(-80.0), random=-500)
    assert share == Estimate(406 / 420, 406 / 420, 406 / 420)
    # A plain ratio would call this better than dense: -94 / -80 > 1.
    assert share.value < 1


def test_share_of_dense_redraws_seeds_in_pairs() -> None:
    # Both fail for seed 1: redrawn apart, the share would go from 0.5 to 2.
    method = dense = by_seed(100.0, 50.0, 90.0, 80.0)
    assert share_of_dense(method, dense, random=0, statistic=np.mean) == Estimate(1, 1, 1)
    method, dense = by_seed(10.0, 40.0), by_seed(20.0, 40.0)
    shares = [
        (method[a] + method[b]) / (dense[a] + dense[b]) for a, b in product(range(2), repeat=2)
    ]
    found = share_of_dense(method, dense, random=0, statistic=np.mean)
    assert (found.low, found.high) == (min(shares), max(shares)) == (0.5, 1.0)
    assert found.value == 50 / 60


def test_share_of_dense_does_not_depend_on_the_zero_or_unit_of_the_task() -> None:
    rng = np.random.default_rng(2)
    method, dense = rng.normal(-100, 8, 10), rng.normal(-80, 5, 10)
    plain = share_of_dense(by_seed(*method), by_seed(*dense), random=-200)
    moved = share_of_dense(by_seed(*(3 * method + 999)), by_seed(*(3 * dense + 999)), random=399)
    assert (plain.value, plain.low, plain.high) == pytest.approx(
        (moved.value, moved.low, moved.high)
    )
    assert plain.low < 100 / 120 < plain.high


def test_share_of_dense_has_open_ends_where_dense_may_fail() -> None:
    # One redraw in four takes the failed seed twice: dense then equals random.
    method, dense = by_seed(5.0, 5.0), by_seed(0.0, 10.0)
    found = share_of_dense(method, dense, random=0, statistic=np.mean)
    assert (found.value, found.low, found.high) == (1.0, -np.inf, np.inf)
    # With ten seeds that hardly ever happens, and the interval is finite.
    many = share_of_dense(by_seed(*[5.0] * 10), by_seed(0.0, *[10.0] * 9), random=0)
    assert np.isfinite((many.low, many.high)).all()


def test_mean_share_of_dense_gives_tasks_equal_weight() -> None:
    method = {"a": by_seed(50.0, 50.0, 50.0), "b": by_seed(-100.0)}
    dense = {"b": by_seed(-100.0), "a": by_seed(100.0, 100.0, 100.0)}
    random = {"a": 0.0, "b": -500.0}
    assert mean_share_of_dense(method, dense, random=random) == Estimate(0.75, 0.75, 0.75)
    only = mean_share_of_dense({"a": by_seed(1.0, 3.0)}, {"a": by_seed(2.0, 4.0)}, random={"a": 0})
    assert only == share_of_dense(by_seed(1.0, 3.0), by_seed(2.0, 4.0), random=0)


def test_share_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for number in range(200):
        luck = rng.normal(0, 10, 20)
        dense = by_seed(*(100 + luck + rng.normal(0, 3, 20)))
        method = by_seed(*(80 + luck + rng.normal(0, 3, 20)))
        found = share_of_dense(
            method, dense, random=0, statistic=np.mean, resamples=400, seed=number
        )
        hits += found.low <= 0.8 <= found.high
    assert 0.87 <= hits / 200 <= 0.99


def test_optimality_gap_by_hand() -> None:
    assert optimality_gap([0.5, 1.0, 7.0, -0.5]) == pytest.approx((0.5 + 0 + 0 + 1.5) / 4)
    assert optimality_gap([[0.5, 2.0], [1.5, 1.5]], axis=1).tolist() == [0.25, 0.0]
    assert optimality_gap([90.0, 110.0], target=100.0) == 5.0
    with pytest.raises(ValueError, match="x must be finite"):
        optimality_gap([np.nan])


def test_aggregate_by_hand() -> None:
    found = aggregate({"a": [0.0, 1.0, 2.0, 9.0], "b": [1.0, 1.0, 1.0, 1.0]})
    assert found.iqm.value == 1.0
    assert found.median.value == 1.0
    assert found.mean.value == 2.0
    assert found.optimality_gap.value == 1 / 8
    assert found.iqm.low < 1.0 < found.iqm.high
    # The mean of the four redrawn values lies in [0, 9], that of all eight in [0.5, 5].
    assert 0.5 <= found.mean.low < 2.0 < found.mean.high <= 5.0


def test_improvement_by_hand() -> None:
    assert improvement([[2.0], [3.0]], [[0.0], [1.0]]) == Estimate(1.0, 1.0, 1.0)
    assert improvement({"t": [1.0, 1.0]}, {"t": [1.0]}) == Estimate(0.5, 0.5, 0.5)
    # Of the redraws of X (1, 3) three in four hold a 3, which wins over 2; (1, 1) never wins.
    assert improvement({"t": [1.0, 3.0]}, {"t": [2.0]}) == Estimate(0.5, 0.0, 1.0)
    x, y = np.random.default_rng(4).integers(0, 5, (2, 7, 3)).astype(float)
    found = improvement(x, y)
    assert found.value == pytest.approx(probability_of_improvement(x, y))
    assert found.low < found.value < found.high
    mirrored = improvement(y, x)
    assert mirrored.value == pytest.approx(1 - found.value)


def test_profile_band_by_hand() -> None:
    band = profile_band({"a": [0.0, 1.0], "b": [2.0]}, [-1.0, 0.5, 1.5, 2.5])
    assert band.share.tolist() == [1.0, 2 / 3, 1 / 3, 0.0]
    # Above 0.5 lies the one run of b, and of a none, one or two of two redrawn runs.
    assert band.low.tolist() == [1.0, 1 / 3, 1 / 3, 0.0]
    assert band.high.tolist() == [1.0, 1.0, 1 / 3, 0.0]
    table = np.random.default_rng(5).normal(size=(5, 4))
    levels = np.linspace(-2, 2, 9)
    band = profile_band(table, levels)
    np.testing.assert_array_equal(band.share, performance_profile(table, levels))
    assert (band.low <= band.share).all()
    assert (band.share <= band.high).all()


def test_profile_band_has_the_width_of_the_binomial() -> None:
    runs = np.r_[np.zeros(50), np.ones(50)][:, None]
    band = profile_band(runs, [0.5], resamples=9_999)
    assert band.high[0] - band.low[0] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 100), abs=0.02)


def test_same_seed_same_interval() -> None:
    x, y = np.random.default_rng(6).normal(size=(2, 6, 2))
    assert improvement(x, y, seed=1) == improvement(x, y, seed=1)
    method, dense = by_seed(*x[:, 0]), by_seed(*(y[:, 0] + 9))
    assert share_of_dense(method, dense, random=0) == share_of_dense(method, dense, random=0)
    first, again = profile_band(x, [0.0, 0.5]), profile_band(x, [0.0, 0.5])
    np.testing.assert_array_equal(first.low, again.low)


def test_estimate_reads_well() -> None:
    assert str(Estimate(-1.2345, -2.0, 0.5)) == "-1.23 [-2, 0.5]"
    assert not Estimate(-1.0, -2.0, 0.5).excludes(0)
    assert Estimate(1.0, 0.5, 2.0).excludes(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_differences({0: 1.0}, {1: 1.0}), r"baseline must have the seeds of method"),
        (lambda: paired_differences({}, {}), "method must hold at least one value"),
        (lambda: paired_differences({0: np.nan}, {0: 1.0}), "method must be finite"),
        (lambda: paired_differences({0: 1.0}, {0: np.inf}), "baseline must be finite"),
        (lambda: share_of_dense({0: 1.0}, {0: 5.0}, random=5.0), "above the random policy's"),
        (lambda: share_of_dense({0: 1.0}, {1: 5.0}, random=0.0), "dense must have the seeds"),
        (
            lambda: share_of_dense({0: 1.0}, {0: 5.0}, random=0.0, confidence=95),
            r"confidence must lie in \(0, 1\), got 95",
        ),
        (
            lambda: mean_share_of_dense({"a": {0: 1.0}}, {"b": {0: 1.0}}, random={"a": 0.0}),
            "must have the same tasks",
        ),
        (lambda: mean_share_of_dense({}, {}, random={}), "at least one"),
        (
            lambda: mean_share_of_dense({"a": {0: 1.0}}, {"a": {0: -1.0}}, random={"a": 0.0}),
            r"dense\['a'\] must have a finite return above",
        ),
        (lambda: estimate({}), "scores must hold at least one task"),
        (lambda: estimate({"a": [[1.0]]}), r"scores\['a'\] must have shape \[runs\]"),
        (lambda: estimate({"a": []}), r"scores\['a'\] must hold at least one value"),
        (lambda: estimate(np.zeros((1, 1, 1))), r"shape \[runs, tasks\], got \(1, 1, 1\)"),
        (lambda: improvement({"a": [1.0]}, {"b": [1.0]}), "x and y must have the same tasks"),
        (lambda: improvement([[1.0]], [[1.0, 2.0]]), "x and y must have the same tasks"),
        (lambda: improvement([[1.0]], [[1.0]], resamples=0), "resamples must be at least 1"),
        (lambda: profile_band([[1.0]], [[1.0]]), r"thresholds must have shape \[T\]"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
