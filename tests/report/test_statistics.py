"""Statistics against numbers worked out by hand, other implementations, and the truth."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from sparseagent.report import (
    bootstrap_interval,
    holm,
    iqm,
    performance_profile,
    probability_of_improvement,
    sign_flip_p,
    stratified_bootstrap_interval,
)

stats = pytest.importorskip("scipy.stats")


def test_p_values_of_sign_flips_by_hand() -> None:
    # Of the eight sums +-1 +-2 +-4 only +-7 is as far from 0 as 7, +-5 and +-7 as far as 5.
    assert sign_flip_p([1.0, 2.0, 4.0]) == 2 / 8
    assert sign_flip_p([-1.0, 2.0, 4.0]) == 4 / 8
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_p([3.0]) == 1.0
    assert sign_flip_p([0.1] * 5) == 2 / 2**5
    assert sign_flip_p(np.arange(1.0, 11.0)) == 2 / 2**10


def test_sign_flips_agree_with_scipy_and_have_the_level_they_claim() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0.5, 1.0, 10)
    expected = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(x) == pytest.approx(expected)
    drawn = sign_flip_p(rng.normal(0.5, 1.0, 30))
    assert 1e-4 <= drawn < 0.1
    false = np.mean([sign_flip_p(rng.standard_normal(8)) <= 0.05 for _ in range(1000)])
    assert 0.02 < false < 0.08


def test_holm_by_hand() -> None:
    # 4 * .01, 3 * .02, then never less than the one before.
    assert holm([0.03, 0.01, 0.02, 0.5]) == pytest.approx([0.06, 0.04, 0.06, 0.5])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"p_values must lie in \[0, 1\]"):
        holm([0.1, 1.5])
    with pytest.raises(ValueError, match=r"differences must have shape \[n\]"):
        sign_flip_p([[1.0]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([1.0, 4.0], 2.5),
        ([1.0, 2.0, 9.0], 4.0),  # a quarter of 3, rounded down, is nothing
        ([-50.0, 2.0, 4.0, 1000.0], 3.0),
        ([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0], 4.5),
        ([0.0, 0.0, 1.0, 2.0, 6.0, 100.0, 100.0, 100.0, 100.0], (1 + 2 + 6 + 100 + 100) / 5),
    ],
)
def test_iqm_by_hand(values: list[float], expected: float) -> None:
    assert iqm(values) == pytest.approx(expected)


def test_iqm_equals_the_trimmed_mean_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 40):
        x = rng.standard_cauchy((n, 3))
        np.testing.assert_allclose(iqm(x, axis=0), stats.trim_mean(x, 0.25, axis=0), atol=1e-12)
        np.testing.assert_allclose(iqm(x.T, axis=1), iqm(x, axis=0))
        assert iqm(x) == pytest.approx(stats.trim_mean(x, 0.25, axis=None))


def test_iqm_of_equal_values_is_that_value_exactly() -> None:
    assert any(np.mean([0.1] * n) != 0.1 for n in range(1, 50))  # why it needs care
    assert all(iqm([0.1] * n) == 0.1 for n in range(1, 50))


def test_iqm_leaves_its_argument_alone() -> None:
    x = np.array([3.0, 1.0, 2.0, 0.0])
    iqm(x)
    assert x.tolist() == [3.0, 1.0, 2.0, 0.0]


@pytest.mark.parametrize("values", [[], [np.nan, 1.0], [np.inf], 3.0])
def test_iqm_refuses(values: Any) -> None:
    with pytest.raises(ValueError, match="x must"):
        iqm(values)


def test_bootstrap_interval_of_the_mean_is_the_normal_one_for_many_values() -> None:
    x = np.random.default_rng(1).normal(10.0, 2.0, 2_000)
    low, high = bootstrap_interval(x, np.mean)
    half = 1.96 * x.std() / np.sqrt(len(x))
    assert low == pytest.approx(x.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(x.mean() + half, abs=0.1 * half)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    truth = 5.0  # IQM of a symmetric law is its centre
    hits = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.normal(truth, 3.0, 60), resamples=400, seed=seed)
        hits += low <= truth <= high
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize("count", [2, 7, 100, 1_000])
@pytest.mark.parametrize("statistic", [iqm, np.mean, np.median])
def test_bootstrap_interval_is_that_of_scipy(count: int, statistic: Any) -> None:
    x = np.random.default_rng(count).gamma(2.0, 3.0, count)
    theirs = stats.bootstrap(
        (x,), statistic, method="percentile", random_state=np.random.default_rng(7)
    ).confidence_interval
    assert bootstrap_interval(x, statistic, seed=7) == pytest.approx(tuple(theirs), rel=1e-12)


def test_stratified_interval_is_that_of_scipy_within_its_error() -> None:
    rng = np.random.default_rng(8)
    tasks = {"a": rng.normal(0.0, 1.0, 20), "b": rng.normal(3.0, 2.0, 12), "c": rng.normal(size=5)}
    theirs = stats.bootstrap(
        list(tasks.values()),
        lambda *redrawn, axis: iqm(np.concatenate(redrawn, axis=axis), axis=axis),
        method="percentile",
        n_resamples=50_000,
        random_state=np.random.default_rng(9),
    ).confidence_interval
    ours = stratified_bootstrap_interval(tasks, resamples=50_000)
    assert ours == pytest.approx(tuple(theirs), abs=0.02 * (theirs.high - theirs.low))


def test_bootstrap_interval_repeats_and_widens() -> None:
    x = np.random.default_rng(3).normal(size=50)
    narrow, wide = bootstrap_interval(x, confidence=0.5), bootstrap_interval(x, confidence=0.99)
    assert bootstrap_interval(x, confidence=0.5) == narrow
    assert bootstrap_interval(x, confidence=0.5, seed=1) != narrow
    assert wide[0] < narrow[0] < iqm(x) < narrow[1] < wide[1]


def test_bootstrap_interval_of_two_values_by_hand() -> None:
    # A resample has mean 0, 1 or 2 with probability 1/4, 1/2, 1/4.
    assert bootstrap_interval([0.0, 2.0], np.mean, confidence=0.95) == (0.0, 2.0)
    assert bootstrap_interval([0.0, 2.0], np.mean, confidence=0.4) == (1.0, 1.0)


def test_degenerate_samples_give_an_interval_of_no_width() -> None:
    assert bootstrap_interval([500.0] * 100) == (500.0, 500.0)
    assert bootstrap_interval([0.1] * 10) == (0.1, 0.1)
    assert bootstrap_interval([-3.0]) == (-3.0, -3.0)
    low, high = stratified_bootstrap_interval([[1.0, 2.0, 3.0, 4.0]] * 5)
    assert low == high == 2.5


def test_stratified_interval_knows_that_tasks_differ() -> None:
    # Tasks lie far apart, runs close together: redrawing within tasks leaves little doubt.
    rng = np.random.default_rng(4)
    scores = np.array([0.0, 10.0, 20.0, 30.0]) + rng.normal(0.0, 0.1, (10, 4))
    within = stratified_bootstrap_interval(scores, np.mean)
    pooled = bootstrap_interval(scores.ravel(), np.mean)
    half = 1.96 * np.sqrt((scores.var(axis=0) / 10).sum()) / 4
    assert within[1] - within[0] == pytest.approx(2 * half, rel=0.1)
    assert pooled[1] - pooled[0] > 20 * (within[1] - within[0])


def test_stratified_interval_of_one_task_is_the_plain_one() -> None:
    x = np.random.default_rng(5).normal(size=30)
    assert stratified_bootstrap_interval(x[:, None]) == bootstrap_interval(x)


def test_a_task_with_a_single_run_is_never_redrawn() -> None:
    low, high = stratified_bootstrap_interval({"a": [1.0, 2.0, 3.0, 4.0], "b": [10.0]}, np.mean)
    alone = bootstrap_interval([1.0, 2.0, 3.0, 4.0], np.mean)
    assert (low, high) == pytest.approx([(4 * end + 10) / 5 for end in alone])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval([]), "at least one value"),
        (lambda: bootstrap_interval([[1.0, 2.0]]), r"shape \[n\], got \(1, 2\)"),
        (lambda: bootstrap_interval([1.0, np.nan]), "must be finite, got nan"),
        (lambda: bootstrap_interval([1.0, 2.0], confidence=95), r"confidence must lie in \(0, 1\)"),
        (lambda: bootstrap_interval([1.0, 2.0], resamples=0), "resamples must be at least 1"),
        (lambda: stratified_bootstrap_interval([1.0, 2.0]), r"shape \[runs, tasks\], got \(2,\)"),
    ],
)
def test_intervals_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_probability_of_improvement_by_hand() -> None:
    assert probability_of_improvement([2.0, 3.0], [0.0, 1.0]) == 1.0
    assert probability_of_improvement([0.0, 1.0], [2.0, 3.0]) == 0.0
    assert probability_of_improvement([1.0, 1.0], [1.0]) == 0.5
    # Pairs (1,1) tie, (1,2) lost, (3,1) won, (3,2) won.
    assert probability_of_improvement([1.0, 3.0], [1.0, 2.0]) == pytest.approx(2.5 / 4)
    # The mean over tasks: won everywhere in the first, nowhere in the second.
    assert probability_of_improvement([[5.0, 0.0]], [[1.0, 1.0], [2.0, 2.0]]) == 0.5


def test_probability_of_improvement_is_mann_whitney() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.integers(0, 8, 17).astype(float), rng.integers(0, 8, 11).astype(float)
    u = stats.mannwhitneyu(x, y).statistic
    assert probability_of_improvement(x, y) == pytest.approx(u / (17 * 11))
    both = probability_of_improvement(x, y) + probability_of_improvement(y, x)
    assert both == pytest.approx(1.0)


def test_probability_of_improvement_refuses_other_tasks() -> None:
    with pytest.raises(ValueError, match=r"x and y must have shapes .* \(2, 3\) and \(2, 2\)"):
        probability_of_improvement(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="x and y must have shapes"):
        probability_of_improvement(np.zeros(2), np.zeros((2, 2)))


def test_performance_profile_by_hand() -> None:
    scores = [[0.0, 1.0], [2.0, 2.0]]
    profile = performance_profile(scores, [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
    assert profile.tolist() == [1.0, 0.75, 0.75, 0.5, 0.0, 0.0]
    with pytest.raises(ValueError, match=r"thresholds must have shape \[T\]"):
        performance_profile(scores, [[1.0]])
    with pytest.raises(ValueError, match="scores must hold at least one value"):
        performance_profile([], [1.0])


def test_import_is_light() -> None:
    code = (
        "import sys, sparseagent.report\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'gymnasium'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
