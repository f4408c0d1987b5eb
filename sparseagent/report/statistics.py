"""Statistics for few runs with heavy tails: interquartile mean, bootstrap intervals, profiles.

The measures are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice" (2021). SciPy is loaded only where a bootstrap is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "bootstrap_interval",
    "iqm",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "stratified_bootstrap_interval",
]

Statistic = Callable[..., Any]
"""`statistic(values, axis=k)` reduces one axis, as `numpy.mean` and `iqm` do."""

Scores = npt.ArrayLike | Mapping[str, npt.ArrayLike]
"""Scores of several tasks: `[runs, tasks]`, or task -> `[runs]` where they differ in runs."""

_BATCH_VALUES = 2_000_000  # values resampled at a time: 16 MB


def iqm(x: npt.ArrayLike, axis: int | None = None) -> Any:
    """Interquartile mean: the mean of the middle half.

    A quarter of the values, rounded down, is cut off at each end. Robust like the median, but half
    of the values speak, so its error is smaller (Agarwal et al., 2021).

    Args:
        x: Finite values of any shape, at least one along `axis`.
        axis: The axis to reduce; None takes all values together.

    Returns:
        A float for `axis=None`, else an array without that axis.

    Raises:
        ValueError: `x` is empty or not finite.
    """
    values = as_finite("x", x)
    if axis is None:
        values, axis = values.ravel(), 0
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    cut = ordered.shape[-1] // 4
    middle = ordered[..., cut : ordered.shape[-1] - cut]
    # Rounding must not push a mean past the values it is the mean of: n equal values give that one.
    return np.clip(middle.mean(axis=-1), middle[..., 0], middle[..., -1])[()]


def bootstrap_interval(
    x: npt.ArrayLike,
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap percentile interval of a statistic of independent values (Efron, 1979).

    Args:
        x: Finite values `[n]`, such as the returns of `n` episodes or runs.
        statistic: `statistic(values, axis=k)` reduces axis `k`.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many samples are drawn with replacement, at least 1.
        seed: Seed of the draws: the same arguments give the same interval.

    Returns:
        (low, high). Equal values, and so also a single one, give an interval of no width: the
        bootstrap knows of no spread but the sample's.

    Raises:
        ValueError: `x` is not 1-D, empty or not finite, or a number is out of range.
    """
    values = as_finite("x", x)
    if values.ndim != 1:
        raise ValueError(f"x must have shape [n], got {values.shape}")
    return stratified_bootstrap_interval(values[:, None], statistic, confidence, resamples, seed)


def stratified_bootstrap_interval(
    scores: Scores,
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap percentile interval over several tasks: runs are redrawn within each task.

    The statistic sees all values of a resample in one row (Agarwal et al., 2021), so that a task
    with more runs has more weight.

    Args:
        scores: Finite normalised scores `[runs, tasks]`, or for each task its scores `[runs]`.
        statistic: `statistic(values, axis=k)` reduces axis `k`.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many samples are drawn, at least 1.
        seed: Seed of the draws.

    Returns:
        (low, high).

    Raises:
        ValueError: `scores` has another shape, is empty or not finite, or a number is out of range.
    """
    check_bootstrap(confidence, resamples)
    tasks = by_task("scores", scores)
    if all((task == task[0]).all() for task in tasks):  # every resample is the sample
        only = float(statistic(np.concatenate(tasks), axis=0))
        return only, only
    from scipy.stats import bootstrap

    # SciPy redraws two runs or more; a single one is always drawn again.
    several = [task for task in tasks if len(task) > 1]
    single = np.array([task[0] for task in tasks if len(task) == 1])

    def joined(*redrawn: npt.NDArray[np.float64], axis: int) -> Any:
        resamples = np.moveaxis(redrawn[0], axis, -1).shape[:-1]
        fixed = np.moveaxis(np.broadcast_to(single, (*resamples, len(single))), -1, axis)
        return statistic(np.concatenate([*redrawn, fixed], axis=axis), axis=axis)

    interval = bootstrap(
        several,
        joined,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, _BATCH_VALUES // sum(map(len, tasks))),
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


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


def by_task(name: str, scores: Scores) -> tuple[npt.NDArray[np.float64], ...]:
    """The scores `[runs]` of each task, checked.

    Raises:
        ValueError: `scores` has another shape, is empty or not finite.
    """
    if isinstance(scores, Mapping):
        if not scores:
            raise ValueError(f"{name} must hold at least one task, got none")
        tasks = {task: as_finite(f"{name}[{task!r}]", runs) for task, runs in scores.items()}
        for task, runs in tasks.items():
            if runs.ndim != 1:
                raise ValueError(f"{name}[{task!r}] must have shape [runs], got {runs.shape}")
        return tuple(tasks.values())
    values = as_finite(name, scores)
    if values.ndim != 2:
        raise ValueError(f"{name} must have shape [runs, tasks], got {values.shape}")
    return tuple(values.T)


def check_bootstrap(confidence: float, resamples: int) -> None:
    """Raise ValueError where a number of a bootstrap is out of range."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")


def as_finite(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The values as float64.

    Raises:
        ValueError: there is none, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or array.ndim == 0:
        raise ValueError(f"{name} must hold at least one value, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array
