"""Gradual magnitude pruning under the regulariser of neuron contributions, in its posed form.

`sparseagent.prune.ContributionPenalty` says what it computes and where it comes from.
"""

from __future__ import annotations

from sparseagent.study.method.protocol import Job, Trained
from sparseagent.study.training import train_agent
from sparseagent.train.config import RunConfig

STRENGTH = 1e-3


class Contribution:
    """Presses on the small weights of neurons that contribute little, and prunes on the way."""

    name = "contribution"
    label = "contribution regulariser"
    has_sparsity = True
    prunes = True
    must_reach = True

    def configure(self, config: RunConfig) -> RunConfig:
        """The run as it is."""
        return config

    def train(self, job: Job) -> Trained:
        """One training, penalised from its first update to its last."""
        from sparseagent.prune import ContributionPenalty
        from sparseagent.study.penalised import Penalised

        return train_agent(job, "pruned", callbacks=(Penalised(ContributionPenalty(STRENGTH)),))


METHOD = Contribution()
