"""Hybrid pruning that leaves few neurons, with about half of the weights they can have."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparseagent.prune import Hybrid
from sparseagent.study.method.weights import Weights
from sparseagent.train.config import RunConfig


@dataclass(frozen=True)
class _Narrow(Weights):
    """As many neurons go as the sparsity asks for."""

    def configure(self, config: RunConfig) -> RunConfig:
        neurons = round(Hybrid.for_sparsity(config.sparsity).neurons, 4)
        return replace(super().configure(config), pattern="hybrid", neurons=neurons)


METHOD = _Narrow("hybrid_narrow", "few neurons, then weights")
