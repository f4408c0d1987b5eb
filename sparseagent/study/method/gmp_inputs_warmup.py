"""Gradual pruning of whole inputs on a ramp that waits for the return to rise; critic alike.

It may begin at once; where it ends, and so the latest begin, is the environment's.
"""

from __future__ import annotations

from sparseagent.study.method.alike import Alike

METHOD = Alike(
    "gmp_inputs_warmup",
    "whole inputs, waiting",
    {"score": "inputs", "schedule": "warmup", "prune_start": 0.0},
)
