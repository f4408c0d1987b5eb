"""The linear actor: whether the task needs hidden layers at all. The critic keeps its own."""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow
from sparseagent.train.config import RunConfig


def _no_hidden_layers(config: RunConfig) -> tuple[int, ...]:
    return ()


METHOD = Narrow("linear", "linear", _no_hidden_layers, has_sparsity=False)
