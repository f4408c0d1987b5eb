"""The linear actor: whether the task needs hidden layers at all. The critic keeps its own."""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow

METHOD = Narrow("linear", "linear", lambda config: (), has_sparsity=False)
