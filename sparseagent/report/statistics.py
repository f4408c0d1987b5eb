"""Measures for few runs with heavy tails: optimality gap, probability of improvement, profiles.

They are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (2021); the interquartile mean and the bootstrap, which rollouts need too, are those of
`sparseagent.bootstrap`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sparseagent.bootstrap import as_finite

__all__ = ["optimality_gap", "performance_profile", "probability_of_improvement"]


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
