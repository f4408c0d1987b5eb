"""Gradual pruning of whole inputs that come back where their gradient is large; critic alike."""

from __future__ import annotations

from sparseagent.study.method.alike import Alike

METHOD = Alike(
    "gmp_inputs_regrow",
    "whole inputs, regrown",
    {"score": "inputs", "schedule": "cubic", "grow": "gradient_inputs"},
)
