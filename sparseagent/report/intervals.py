"""Statistics of scores over runs and tasks, each with its stratified bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparseagent.bootstrap import (
    Scores,
    Statistic,
    as_finite,
    by_task,
    check_bootstrap,
    iqm,
    stratified_bootstrap_interval,
)
from sparseagent.report.statistics import (
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from sparseagent.report.table import format_number

__all__ = [
    "Aggregate",
    "Estimate",
    "ProfileBand",
    "aggregate",
    "estimate",
    "improvement",
    "profile_band",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the interval, as 0 does for a clear difference."""
        return not self.low <= value <= self.high

    def __str__(self) -> str:
        value, low, high = (format_number(x) for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


@dataclass(frozen=True)
class Aggregate:
    """What is said of normalised scores over all runs and tasks (Agarwal et al., 2021).

    Attributes:
        iqm: Interquartile mean.
        median: Median.
        mean: Mean.
        optimality_gap: Mean shortfall from 1, the return of dense.
    """

    iqm: Estimate
    median: Estimate
    mean: Estimate
    optimality_gap: Estimate


class ProfileBand(NamedTuple):
    """A performance profile: `share [T]` of runs above `thresholds [T]`, and its pointwise band."""

    thresholds: Array
    share: Array
    low: Array
    high: Array


def estimate(
    scores: Scores,
    statistic: Statistic = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> Estimate:
    """A statistic of scores with its stratified bootstrap interval.

    Args:
        scores: Finite scores `[runs, tasks]`, for each task its scores `[runs]`, or `[runs]` of a
            single task.
        statistic: `statistic(values, axis=k)` reduces axis `k`.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many samples are drawn, at least 1.
        seed: Seed of the draws.

    Raises:
        ValueError: As `stratified_bootstrap_interval`.
    """
    if not isinstance(scores, Mapping):
        scores = as_finite("scores", scores)
        if scores.ndim == 1:
            scores = scores[:, None]
    value = float(statistic(np.concatenate(by_task("scores", scores)), axis=0))
    low, high = stratified_bootstrap_interval(scores, statistic, confidence, resamples, seed)
    return Estimate(value, low, high)


def aggregate(scores: Scores, *, resamples: int = 9_999, seed: int = 0) -> Aggregate:
    """The four aggregates of normalised scores, each with its 95 % stratified interval.

    Args:
        scores: Normalised scores (see `normalise`): `[runs, tasks]`, or task -> `[runs]`.
        resamples: How many samples are drawn for each, at least 1.
        seed: Seed of the draws.

    Raises:
        ValueError: As `stratified_bootstrap_interval`.
    """

    def of(statistic: Statistic) -> Estimate:
        return estimate(scores, statistic, resamples=resamples, seed=seed)

    return Aggregate(of(iqm), of(np.median), of(np.mean), of(optimality_gap))


def improvement(
    x: Scores, y: Scores, *, confidence: float = 0.95, resamples: int = 9_999, seed: int = 0
) -> Estimate:
    """Probability that a run of X beats a run of Y, with its stratified bootstrap interval.

    See `probability_of_improvement`; runs of X and Y are redrawn independently within each task.

    Args:
        x: Scores `[runs_x, tasks]`, or task -> `[runs_x]`.
        y: Scores `[runs_y, tasks]`, or task -> `[runs_y]`, of the same tasks in the same order.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many samples are drawn, at least 1.
        seed: Seed of the draws.

    Raises:
        ValueError: The tasks differ, an argument is empty or not finite, or a number is out of
            range.
    """
    check_bootstrap(confidence, resamples)
    xs, ys = by_task("x", x), by_task("y", y)
    if _task_names(x, xs) != _task_names(y, ys):
        raise ValueError(
            f"x and y must have the same tasks, got {_task_names(x, xs)} and {_task_names(y, ys)}"
        )
    rng = np.random.default_rng(seed)
    values, drawn = [], []
    for of_x, of_y in zip(xs, ys, strict=True):
        pairs = (np.sign(of_x[:, None] - of_y) + 1) / 2  # 1 won, 0.5 tied, 0 lost
        times_x, times_y = _times(rng, len(of_x), resamples), _times(rng, len(of_y), resamples)
        drawn.append(((times_x @ pairs) * times_y).sum(axis=1) / pairs.size)
        values.append(probability_of_improvement(of_x, of_y))
    tail = 50 * (1.0 - confidence)
    low, high = np.percentile(np.mean(drawn, axis=0), (tail, 100 - tail))
    return Estimate(float(np.mean(values)), float(low), float(high))


def profile_band(
    scores: Scores,
    thresholds: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> ProfileBand:
    """A performance profile with its pointwise stratified bootstrap band (Agarwal et al., 2021).

    Args:
        scores: Normalised scores `[runs, tasks]`, or task -> `[runs]`.
        thresholds: Values `[T]`.
        confidence: Coverage of the band at each threshold, in (0, 1).
        resamples: How many samples are drawn, at least 1.
        seed: Seed of the draws.

    Raises:
        ValueError: An argument has another shape, is empty or not finite, or a number is out of
            range.
    """
    check_bootstrap(confidence, resamples)
    tasks = by_task("scores", scores)
    share = performance_profile(np.concatenate(tasks), thresholds)
    levels = as_finite("thresholds", thresholds)
    rng = np.random.default_rng(seed)
    above = sum(_times(rng, len(runs), resamples) @ (runs[:, None] > levels) for runs in tasks)
    tail = 50 * (1.0 - confidence)
    low, high = np.percentile(above / sum(map(len, tasks)), (tail, 100 - tail), axis=0)
    return ProfileBand(levels, share, low, high)


def _times(rng: np.random.Generator, runs: int, resamples: int) -> npt.NDArray[np.int64]:
    """How often each run occurs in each resample, `[resamples, runs]`."""
    return rng.multinomial(runs, np.full(runs, 1.0 / runs), size=resamples)


def _task_names(scores: Scores, tasks: Sequence[Array]) -> list[Any]:
    return list(scores) if isinstance(scores, Mapping) else list(range(len(tasks)))
