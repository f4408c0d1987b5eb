"""Hybrid pruning that leaves few neurons with many weights each: about half of those they can have.

Removing a share x of the neurons of every hidden layer leaves about (1 - x)^2 of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

from sparseagent.study.method.weights import Weights
from sparseagent.train.config import RunConfig

_DENSITY = 0.5  # of what the neurons leave


@dataclass(frozen=True)
class _Narrow(Weights):
    """As many neurons go as the sparsity asks for."""

    def configure(self, config: RunConfig) -> RunConfig:
        left = min(1.0, sqrt((1.0 - config.sparsity) / _DENSITY))
        return replace(super().configure(config), pattern="hybrid", neurons=round(1.0 - left, 4))


METHOD = _Narrow("hybrid_narrow", "few neurons, then weights")
