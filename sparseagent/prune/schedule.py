"""Schedules: pure functions from the progress of a run, in [0, 1], to a sparsity, in [0, 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sparseagent.prune.checks import require_fraction, require_ramp, require_sparsity

Schedule: TypeAlias = Callable[[float], float]
"""`schedule(progress) -> sparsity`; its end, `schedule(1.0)`, is the sparsity of the agent."""


@dataclass(frozen=True)
class OneShot:
    """Prune everything at once.

    Attributes:
        to: Final sparsity, in [0, 1).
        at: Progress at which the weights are pruned, in [0, 1]. 0 prunes before training starts.
    """

    to: float
    at: float = 0.0

    def __post_init__(self) -> None:
        require_sparsity("to", self.to)
        require_fraction("at", self.at)

    def __call__(self, progress: float) -> float:
        """Sparsity at `progress`, both fractions."""
        require_fraction("progress", progress)
        return self.to if progress >= self.at else 0.0


@dataclass(frozen=True)
class Cubic:
    """Prune gradually, fast at first: `to * (1 - (1 - x)^3)`, x from 0 at start to 1 at stop.

    Source: Zhu & Gupta, "To prune, or not to prune", 2017; start 0.2 and stop 0.8 as in Graesser
    et al., "The State of Sparse Training in Deep Reinforcement Learning", 2022: the agent first
    learns what matters, and the last fifth of the run trains under the final masks.

    Attributes:
        to: Final sparsity, in [0, 1).
        start: Progress at which pruning begins, in [0, 1).
        stop: Progress from which the sparsity is exactly `to`, in (start, 1].
    """

    to: float
    start: float = 0.2
    stop: float = 0.8

    def __post_init__(self) -> None:
        require_sparsity("to", self.to)
        require_ramp(self.start, self.stop)

    def __call__(self, progress: float) -> float:
        """Sparsity at `progress`, both fractions."""
        require_fraction("progress", progress)
        if progress >= self.stop:
            return self.to
        ramp = max(0.0, (progress - self.start) / (self.stop - self.start))
        return self.to * (1.0 - (1.0 - ramp) ** 3)


@dataclass(frozen=True)
class Geometric:
    """Remove the same share of what is left in equal times: density (1 - to)^x, x from 0 to 1.

    Slower than `Cubic` where few weights are left. The way of iterative magnitude pruning (Frankle
    & Carbin, "The Lottery Ticket Hypothesis", 2019), whose rounds each remove one share.

    Attributes:
        to: Final sparsity, in [0, 1).
        start: Progress at which pruning begins, in [0, 1).
        stop: Progress from which the sparsity is exactly `to`, in (start, 1].
    """

    to: float
    start: float = 0.2
    stop: float = 0.8

    def __post_init__(self) -> None:
        require_sparsity("to", self.to)
        require_ramp(self.start, self.stop)

    def __call__(self, progress: float) -> float:
        """Sparsity at `progress`, both fractions."""
        require_fraction("progress", progress)
        if progress >= self.stop:
            return self.to
        ramp = max(0.0, (progress - self.start) / (self.stop - self.start))
        return 1.0 - math.pow(1.0 - self.to, ramp)


def final_sparsity(schedule: Schedule) -> float:
    """The sparsity at the end, after a look at the whole way.

    Raises:
        ValueError: The schedule leaves [0, 1) or falls: what is pruned cannot come back.
    """
    before = 0.0
    for progress in (percent / 100.0 for percent in range(101)):
        sparsity = schedule(progress)
        require_sparsity(f"schedule({progress})", sparsity)
        if sparsity < before:
            raise ValueError(
                f"schedule: expected a sparsity that never falls, got {before} and then {sparsity} "
                f"at progress {progress}"
            )
        before = sparsity
    return before
