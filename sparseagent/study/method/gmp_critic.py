"""Gradual magnitude pruning of actor and critic alike: what sparing the critic is compared with.

So PPO was pruned where it lost most (Graesser et al., 2022).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparseagent.study.method.weights import Weights
from sparseagent.train.config import RunConfig


@dataclass(frozen=True)
class _Alike(Weights):
    """The critic at the sparsity of the actor."""

    def configure(self, config: RunConfig) -> RunConfig:
        return replace(super().configure(config), critic_sparsity=config.sparsity)


METHOD = _Alike("gmp_critic", "gradual magnitude (critic alike)")
