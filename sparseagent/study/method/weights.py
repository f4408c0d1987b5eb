"""What all methods that zero single weights during one training have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sparseagent.study.method.protocol import Job, Trained
from sparseagent.study.training import train_agent
from sparseagent.train.config import RunConfig


@dataclass(frozen=True)
class Weights:
    """A pruned training that settings of `RunConfig` describe completely.

    Attributes:
        name: how a study's file calls it.
        label: how a report calls it.
        settings: fields of `RunConfig`.
        must_reach: whether the sparsity asked for is a target, not a limit.
        has_sparsity: always.
        prunes: always.
    """

    name: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    must_reach: bool = True
    has_sparsity: bool = True
    prunes: bool = True

    def configure(self, config: RunConfig) -> RunConfig:
        """The run with the settings of the method."""
        return replace(config, **self.settings)

    def train(self, job: Job) -> Trained:
        """One training, pruned on the way."""
        return train_agent(job, "pruned")
