"""What all dense agents with narrower layers have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sparseagent.study.method.protocol import Job, Trained
from sparseagent.study.training import full_widths, train_agent
from sparseagent.train.architecture import tiny_hidden, weight_count
from sparseagent.train.config import RunConfig


@dataclass(frozen=True)
class Narrow:
    """Trains an actor of narrower layers.

    Attributes:
        name: how a study's file calls it.
        label: how a report calls it.
        hidden: widths of the actor's hidden layers in a run; none for a linear actor.
        narrow_critic: whether the critic gets these widths too; else it keeps its own.
        l1: whether the actor's input layer is under a proximal L1 penalty.
        has_sparsity: whether the widths depend on a sparsity.
        prunes: never.
        must_reach: never: with whole neurons the nearest width may hold a few weights more.
    """

    name: str
    label: str
    hidden: Callable[[RunConfig], tuple[int, ...]]
    narrow_critic: bool = False
    l1: bool = False
    has_sparsity: bool = True
    prunes: bool = False
    must_reach: bool = False

    def configure(self, config: RunConfig) -> RunConfig:
        """The run as it is."""
        return config

    def train(self, job: Job) -> Trained:
        """One training."""
        hidden = self.hidden(job.config)
        if self.narrow_critic:
            job = replace(job, config=replace(job.config, net_arch=hidden))
        if not self.l1:
            return train_agent(job, "tiny", hidden)
        from sparseagent.prune import ProximalL1
        from sparseagent.study.penalised import Penalised, l1_strength

        penalty = ProximalL1(l1_strength(job.config.env))
        return train_agent(job, "tiny", hidden, (Penalised(penalty),))


def equal_weights(config: RunConfig) -> tuple[int, ...]:
    """Hidden widths with as many weights as the pruned actor of a run keeps."""
    inputs, *hidden, outputs = full_widths(config)
    kept = round((1.0 - config.sparsity) * weight_count(inputs, hidden, outputs))
    return tiny_hidden(inputs, outputs, kept, len(hidden))


def equal_parameters(config: RunConfig) -> tuple[int, ...]:
    """The same with biases: the pruned actor keeps all of its own, one for each neuron."""
    inputs, *hidden, outputs = full_widths(config)
    kept = round((1.0 - config.sparsity) * weight_count(inputs, hidden, outputs))
    kept += sum(hidden) + outputs
    return tiny_hidden(inputs, outputs, kept, len(hidden), biases=True)
