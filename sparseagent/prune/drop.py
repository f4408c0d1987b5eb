"""Drops: pure functions from the progress of a run to the share of weights that is exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sparseagent.prune.checks import require_fraction, require_sparsity

Drop: TypeAlias = Callable[[float], float]
"""`drop(progress) -> share`, in [0, 1), of a layer's kept weights to drop and to grow anew."""


@dataclass(frozen=True)
class CosineDrop:
    """Exchange a share of the weights that falls to 0 like half a cosine.

    `fraction / 2 * (1 + cos(pi * progress / stop))`, and 0 from `stop` on: the end of the run
    trains under final masks.

    Source: Evci et al., "Rigging the Lottery", 2020; fractions 0.3 to 0.5 and a stop at 0.75 to 0.8
    as in Graesser et al., "The State of Sparse Training in Deep Reinforcement Learning", 2022.

    Attributes:
        fraction: Share at the start, in [0, 1).
        stop: Progress from which nothing is exchanged, in (0, 1].
    """

    fraction: float = 0.3
    stop: float = 0.75

    def __post_init__(self) -> None:
        require_sparsity("fraction", self.fraction)
        require_fraction("stop", self.stop)
        if not self.stop:
            raise ValueError(f"stop: expected more than 0, got {self.stop}")

    def __call__(self, progress: float) -> float:
        """Share to exchange at `progress`, both fractions."""
        require_fraction("progress", progress)
        if progress >= self.stop:
            return 0.0
        return self.fraction / 2.0 * (1.0 + math.cos(math.pi * progress / self.stop))
