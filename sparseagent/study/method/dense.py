"""The dense agent: the network as it is, nothing removed."""

from __future__ import annotations

from sparseagent.study.method.protocol import Job, Trained
from sparseagent.study.training import train_agent
from sparseagent.train.config import RunConfig


class Dense:
    """Trains the whole network."""

    name = "dense"
    label = "dense"
    has_sparsity = False
    prunes = False
    must_reach = False

    def configure(self, config: RunConfig) -> RunConfig:
        """The run as it is."""
        return config

    def train(self, job: Job) -> Trained:
        """One training."""
        return train_agent(job, "dense")


METHOD = Dense()
