"""Spread and lower tails by hand, and against the law they are drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparseagent.report import Stability, stability, worst_decile


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5.0], 5.0),
        ([3.0, -7.0, 2.0], -7.0),
        (list(range(10)), 0.0),
        (list(range(11)), 0.5),  # a tenth of 11, rounded up, is two
        (list(range(100)), 4.5),
    ],
)
def test_worst_decile_by_hand(values: list[float], expected: float) -> None:
    assert worst_decile(values) == expected
    assert worst_decile(values[::-1]) == expected


def test_worst_decile_along_an_axis() -> None:
    x = np.random.default_rng(0).normal(size=(25, 3))
    expected = np.sort(x, axis=0)[:3].mean(axis=0)
    np.testing.assert_allclose(worst_decile(x, axis=0), expected)
    np.testing.assert_allclose(worst_decile(x.T, axis=1), expected)


def test_worst_decile_of_equal_values_is_that_value_exactly() -> None:
    assert all(worst_decile([0.1] * n) == 0.1 for n in range(1, 200))


def test_worst_decile_of_the_normal_law() -> None:
    from statistics import NormalDist

    x = np.random.default_rng(1).normal(size=200_000)
    shortfall = -NormalDist().pdf(NormalDist().inv_cdf(0.1)) / 0.1
    assert worst_decile(x) == pytest.approx(shortfall, abs=0.01)


def test_stability_by_hand() -> None:
    returns = [[0.0, 2.0], [10.0, 10.0], [20.0, 24.0]]  # means 1, 10, 22
    assert stability(returns) == Stability(
        seeds=3,
        episodes=2,
        std=pytest.approx(np.sqrt(((1 - 11) ** 2 + (10 - 11) ** 2 + (22 - 11) ** 2) / 2)),
        iqr=pytest.approx(16.0 - 5.5),
        worst_seed=1.0,
        worst_decile_of_seeds=1.0,
        worst_decile_of_episodes=0.0,
        std_of_episodes=pytest.approx((1 + 0 + 2) / 3),
    )


def test_a_single_seed_has_no_spread() -> None:
    found = stability([[1.0, 3.0]])
    assert found.std is None
    assert found.iqr is None
    assert found.worst_seed == 2.0


@pytest.mark.parametrize("returns", [[1.0], [[]], [[np.nan]], 3.0])
def test_stability_refuses(returns: Any) -> None:
    with pytest.raises(ValueError, match="returns must"):
        stability(returns)
