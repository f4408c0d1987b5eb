"""The tiny dense agent: no zeros, but as many weights as the pruned agent keeps.

The control of every pruning study (Graesser et al., 2022): if it is as good, pruning buys nothing.
"""

from __future__ import annotations

from sparseagent.study.method.protocol import Job, Trained
from sparseagent.study.training import full_widths, train_agent
from sparseagent.train.architecture import tiny_hidden, weight_count
from sparseagent.train.config import RunConfig


class Tiny:
    """Trains an actor of narrower layers; the critic keeps its width."""

    name = "tiny"
    label = "tiny dense"
    has_sparsity = True
    must_reach = False  # whole neurons: the nearest width may hold a few weights more

    def configure(self, config: RunConfig) -> RunConfig:
        """The run as it is."""
        return config

    def train(self, job: Job) -> Trained:
        """One training."""
        inputs, *hidden, outputs = full_widths(job.config)
        kept = round((1.0 - job.config.sparsity) * weight_count(inputs, hidden, outputs))
        actor = tiny_hidden(inputs, outputs, kept, len(hidden))
        return train_agent(job, "tiny", actor)


METHOD = Tiny()
