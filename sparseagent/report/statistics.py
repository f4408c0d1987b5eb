"""Measures and tests for few runs with heavy tails.

Optimality gap, probability of improvement and profiles are those of Agarwal et al., "Deep
Reinforcement Learning at the Edge of the Statistical Precipice" (2021); the interquartile mean and
the bootstrap, which rollouts need too, are those of `sparseagent.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparseagent.bootstrap import as_finite

__all__ = [
    "holm",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "sign_flip_p",
]

_ALL_SIGNS = 12
_DRAWN_SIGNS = 9_999


def optimality_gap(x: npt.ArrayLike, axis: int | None = None, *, target: float = 1.0) -> Any:
    """How far the scores fall short of a target on average; what lies above it makes nothing good.

    The mean of `max(0, target - x)` (Agarwal et al., 2021): 0 where every run reaches the target.

    Args:
        x: Finite normalised scores of any shape, at least one along `axis`.
        axis: The axis to reduce; None takes all values together.
        target: The score to reach, in the units of `x`.

    Returns:
        A float for `axis=None`, else an array without that axis; at least 0.

    Raises:
        ValueError: `x` is empty or not finite.
    """
    return np.maximum(0.0, target - as_finite("x", x)).mean(axis=axis)[()]


def probability_of_improvement(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Probability that a run of X beats a run of Y, ties counting one half.

    The Mann-Whitney U statistic over the number of pairs, averaged over tasks.

    Args:
        x: Finite scores `[runs_x]` or `[runs_x, tasks]`.
        y: Finite scores `[runs_y]` or `[runs_y, tasks]`.

    Returns:
        A probability in [0, 1]; 0.5 where neither is better.

    Raises:
        ValueError: An argument is empty or not finite, or the tasks differ.
    """
    xs, ys = as_finite("x", x), as_finite("y", y)
    if xs.ndim != ys.ndim or xs.ndim not in (1, 2) or xs.shape[1:] != ys.shape[1:]:
        raise ValueError(
            "x and y must have shapes [runs_x] and [runs_y], or [runs_x, tasks] and "
            f"[runs_y, tasks], got {xs.shape} and {ys.shape}"
        )
    wins = []
    columns_x = xs.reshape(len(xs), -1).T
    columns_y = np.sort(ys.reshape(len(ys), -1).T, axis=1)
    for of_x, of_y in zip(columns_x, columns_y, strict=True):
        below = np.searchsorted(of_y, of_x, side="left")
        not_above = np.searchsorted(of_y, of_x, side="right")
        wins.append((below + not_above).mean() / (2 * len(of_y)))
    return float(np.mean(wins))


def sign_flip_p(differences: npt.ArrayLike, seed: int = 0) -> float:
    """Two-sided p-value of the mean of paired differences: how often chance alone gives as much.

    Where there is no difference, each one is as likely with the other sign (Fisher, 1935). All
    signs are tried for up to 12 differences, else 9,999 random ones beside those found. With n of
    them the least p-value is 2 / 2**n: 0.0625 for five seeds, 0.002 for ten.

    Args:
        differences: Finite differences `[n]`, one for each seed.
        seed: Seed of the random signs.

    Returns:
        A probability in (0, 1].

    Raises:
        ValueError: `differences` is not 1-D, empty or not finite.
    """
    values = as_finite("differences", differences)
    if values.ndim != 1:
        raise ValueError(f"differences must have shape [n], got {values.shape}")
    n = len(values)
    if n <= _ALL_SIGNS:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_DRAWN_SIGNS + 1, n))
        signs[0] = 1.0
    found = np.abs((signs * values).mean(axis=1))
    # Sums of the same numbers in another order differ by rounding.
    return float(np.mean(found >= found[0] * (1 - 1e-12)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: below a, an error of any of them has probability a.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Raises:
        ValueError: a p-value lies outside [0, 1].
    """
    if not all(0.0 <= p <= 1.0 for p in p_values):
        raise ValueError(f"p_values must lie in [0, 1], got {list(p_values)}")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def performance_profile(
    scores: npt.ArrayLike, thresholds: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Share of scores above each threshold: the whole distribution in one curve.

    Args:
        scores: Finite scores of any shape, all runs and tasks together.
        thresholds: Values `[T]`.

    Returns:
        Shares `[T]` in [0, 1], falling as the threshold rises.

    Raises:
        ValueError: An argument is empty or not finite, or `thresholds` is not 1-D.
    """
    ordered = np.sort(as_finite("scores", scores), axis=None)
    levels = as_finite("thresholds", thresholds)
    if levels.ndim != 1:
        raise ValueError(f"thresholds must have shape [T], got {levels.shape}")
    return (len(ordered) - np.searchsorted(ordered, levels, side="right")) / len(ordered)
