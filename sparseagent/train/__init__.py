"""Train, prune, fine-tune and test an agent in five steps; Stable-Baselines3 trains.

    from sparseagent.train import configure, run

    run(configure("CartPole-v1", "ppo", sparsity=0.95, out="runs/cartpole"))

`sparseagent run` is the same from a shell. What needs torch is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparseagent.train.architecture import tiny_hidden, weight_count
from sparseagent.train.choose import configure
from sparseagent.train.config import RunConfig
from sparseagent.train.presets import Preset, preset

if TYPE_CHECKING:
    from sparseagent.train.compiled_eval import CompiledEval
    from sparseagent.train.fast_rollouts import FastRollouts
    from sparseagent.train.pipeline import RunOutcome, run
    from sparseagent.train.run_report import write_report

__all__ = [
    "CompiledEval",
    "FastRollouts",
    "Preset",
    "RunConfig",
    "RunOutcome",
    "configure",
    "preset",
    "run",
    "tiny_hidden",
    "weight_count",
    "write_report",
]

_LAZY = {
    "RunOutcome": "sparseagent.train.pipeline",
    "CompiledEval": "sparseagent.train.compiled_eval",
    "FastRollouts": "sparseagent.train.fast_rollouts",
    "run": "sparseagent.train.pipeline",
    "write_report": "sparseagent.train.run_report",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sparseagent.train' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
