"""The dense agent that is spared the distractors: the best that a choice among inputs can do.

It is trained and tested in the environment without them, from the same starts.
"""

from __future__ import annotations

from dataclasses import replace

from sparseagent.environments import base_environment
from sparseagent.study.method.protocol import Job, Trained
from sparseagent.study.training import train_agent
from sparseagent.train.config import RunConfig


class Oracle:
    """Trains the whole network on the real inputs alone."""

    name = "oracle"
    label = "dense, real inputs only"
    has_sparsity = False
    prunes = False
    must_reach = False

    def configure(self, config: RunConfig) -> RunConfig:
        """The run as it is."""
        return config

    def train(self, job: Job) -> Trained:
        """One training, in the environment without distractors."""
        env = base_environment(job.config.env)
        trained = train_agent(replace(job, config=replace(job.config, env=env)), "dense")
        return replace(trained, env=env)


METHOD = Oracle()
