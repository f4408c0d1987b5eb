"""The interquartile mean and the one bootstrap of the package, in NumPy alone.

A rollout worker needs an interval and little memory: nothing heavy is loaded here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["bootstrap_interval", "iqm", "stratified_bootstrap_interval"]

Statistic = Callable[..., Any]
"""`statistic(values, axis=k)` reduces one axis, as `numpy.mean` and `iqm` do."""

Scores = npt.ArrayLike | Mapping[str, npt.ArrayLike]
"""Scores of several tasks: `[runs, tasks]`, or task -> `[runs]` where they differ in runs."""

_BATCH_VALUES = 100_000  # values redrawn at a time: 0.8 MB, and as much for each step of the way


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
    return mean_of_ranks(x, axis, lambda n: slice(n // 4, n - n // 4))


def mean_of_ranks(x: npt.ArrayLike, axis: int | None, ranks: Callable[[int], slice]) -> Any:
    """Mean of some of the sorted values, such as the middle half or the lowest tenth.

    Args:
        x: Finite values of any shape, at least one along `axis`.
        axis: The axis to reduce; None takes all values together.
        ranks: The ranks `[start, stop)` to take of `n` values, at least one.

    Returns:
        A float for `axis=None`, else an array without that axis.

    Raises:
        ValueError: `x` is empty or not finite.
    """
    values = as_finite("x", x)
    if axis is None:
        values, axis = values.ravel(), 0
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    taken = ordered[..., ranks(ordered.shape[-1])]
    # Rounding must not push a mean past the values it is the mean of: n equal values give that one.
    return np.clip(taken.mean(axis=-1), taken[..., 0], taken[..., -1])[()]


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
    rng = np.random.default_rng(seed)
    values = sum(map(len, tasks))
    drawn = []
    for done in range(0, resamples, batch := max(1, _BATCH_VALUES // values)):
        count = min(batch, resamples - done)
        redrawn = [task[rng.integers(len(task), size=(count, len(task)))] for task in tasks]
        drawn.append(statistic(np.concatenate(redrawn, axis=1), axis=1))
    tail = 50 * (1.0 - confidence)
    low, high = np.percentile(np.concatenate(drawn), (tail, 100 - tail))
    return float(low), float(high)


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
