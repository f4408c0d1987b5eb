"""Methods against dense: differences per seed and shares of its return, with bootstrap intervals.

Runs of one seed belong together: dense and pruned agents of a seed start from the same weights and
meet the same episodes. So differences are taken per seed, and a bootstrap redraws seeds.

Shares of dense. A plain ratio of returns says nothing where returns are negative (-80 is better
than -100 on Acrobot, but 80 % of it) and depends on where a task puts its zero. Here a share is
(R - random) / (dense - random), with the return of a random policy as zero and that of dense as
one. It stays the same when a constant is added to all returns of a task, or all are scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sparseagent.bootstrap import Statistic, as_finite, check_bootstrap, iqm
from sparseagent.report.intervals import Estimate

__all__ = ["mean_share_of_dense", "normalise", "paired_differences", "share_of_dense"]

Array = npt.NDArray[np.float64]
BySeed = Mapping[Any, float]
"""The return of each training seed."""


def paired_differences(method: BySeed, baseline: BySeed) -> Array:
    """Method minus baseline for each seed, `[seeds]` in the order of `method`.

    `estimate(paired_differences(method, dense))` is the difference with its interval. What all
    seeds share (hard starts, lucky weights) cancels, so that the interval is narrower than that of
    two groups which have nothing to do with each other.

    Raises:
        ValueError: The seeds differ, there is none, or a return is not finite.
    """
    first, second = _paired("baseline", method, baseline)
    return first - second


def normalise(scores: npt.ArrayLike, *, random: float, dense: float) -> Array:
    """Scores on the scale where a random policy has 0 and dense has 1; see the module's text.

    Args:
        scores: Returns of one task, any shape.
        random: Mean return of the random policy there.
        dense: Return of the dense agent there, for instance the IQM over its seeds.

    Raises:
        ValueError: `dense` is not above `random`, or a value is not finite.
    """
    values = as_finite("scores", scores)
    _check_scale("dense", random, dense)
    return (values - random) / (dense - random)


def share_of_dense(
    method: BySeed,
    dense: BySeed,
    *,
    random: float,
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> Estimate:
    """The share of dense's return that a method keeps, with its paired bootstrap interval.

    (statistic(R) - random) / (statistic(dense) - random); see the module's text. A seed is redrawn
    for both agents at once. The random policy's return is taken as exact: average many episodes.

    A resample where dense does not beat the random policy has no share. It counts as arbitrarily
    low for the lower end and as arbitrarily high for the upper one, so that a dense agent which
    fails for several seeds leads to infinite ends instead of narrow wrong ones.

    Args:
        method: The return of each seed.
        dense: The same for the dense agent, the same seeds.
        random: Mean return of the random policy.
        statistic: `statistic(values, axis=k)` reduces axis `k`.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many samples are drawn, at least 1.
        seed: Seed of the draws.

    Raises:
        ValueError: The seeds differ, dense is not above random, or a number is out of range.
    """
    tasks = {"dense": (method, dense, random)}
    return _mean_share(tasks, statistic, confidence, resamples, seed)


def mean_share_of_dense(
    method: Mapping[str, BySeed],
    dense: Mapping[str, BySeed],
    *,
    random: Mapping[str, float],
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> Estimate:
    """`share_of_dense`, averaged over tasks of equal weight; seeds are redrawn within each task.

    Args:
        method: For each task the return of each seed.
        dense: The same for the dense agent, the same tasks and seeds.
        random: Mean return of the random policy in each task.
        statistic: `statistic(values, axis=k)` reduces axis `k`.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many samples are drawn, at least 1.
        seed: Seed of the draws.

    Raises:
        ValueError: Tasks or seeds differ, dense is not above random, or a number is out of range.
    """
    if not random or not set(method) == set(dense) == set(random):
        raise ValueError(
            "method, dense and random must have the same tasks, at least one, got "
            f"{list(method)}, {list(dense)} and {list(random)}"
        )
    tasks = {f"dense[{name!r}]": (method[name], dense[name], random[name]) for name in method}
    return _mean_share(tasks, statistic, confidence, resamples, seed)


def _mean_share(
    tasks: Mapping[str, tuple[BySeed, BySeed, float]],
    statistic: Statistic,
    confidence: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """Mean share over tasks, each (method, dense, random) under the name of its dense returns."""
    check_bootstrap(confidence, resamples)
    rng = np.random.default_rng(seed)
    shares, drawn = [], []
    for name, (of_method, of_dense, random) in tasks.items():
        ours, theirs = _paired(name, of_method, of_dense)
        _check_scale(name, random, float(statistic(theirs, axis=0)))
        n = len(ours)
        rows = np.vstack((np.arange(n), rng.integers(n, size=(resamples, n))))  # 0: as measured
        gained = statistic(ours[rows], axis=1) - random
        above = statistic(theirs[rows], axis=1) - random
        found = np.divide(gained, above, out=np.full(len(rows), np.nan), where=above > 0)
        shares.append(found[0])
        drawn.append(found[1:])
    means = np.mean(drawn, axis=0)
    missing, tail = np.isnan(means), (1.0 - confidence) / 2
    # Without interpolation: half of the way to infinity is no number.
    low = np.quantile(np.where(missing, -np.inf, means), tail, method="lower")
    high = np.quantile(np.where(missing, np.inf, means), 1.0 - tail, method="higher")
    return Estimate(float(np.mean(shares)), float(low), float(high))


def _paired(name: str, method: BySeed, baseline: BySeed) -> tuple[Array, Array]:
    """The returns of both `[seeds]`, seed by seed; `name` is that of the baseline."""
    if set(method) != set(baseline):
        raise ValueError(
            f"{name} must have the seeds of method, {list(method)}, got {list(baseline)}"
        )
    return (
        as_finite("method", list(method.values())),
        as_finite(name, [baseline[key] for key in method]),
    )


def _check_scale(name: str, random: float, dense: float) -> None:
    if not np.isfinite((random, dense)).all() or dense <= random:
        raise ValueError(
            f"{name} must have a finite return above the random policy's, got {dense} and {random}"
        )
