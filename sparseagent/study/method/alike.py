"""What methods that prune the critic as far as the actor have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparseagent.study.method.weights import Weights
from sparseagent.train.config import RunConfig


@dataclass(frozen=True)
class Alike(Weights):
    """The critic at the sparsity of the actor."""

    def configure(self, config: RunConfig) -> RunConfig:
        """The run with the settings of the method, for both networks."""
        return replace(super().configure(config), critic_sparsity=config.sparsity)
