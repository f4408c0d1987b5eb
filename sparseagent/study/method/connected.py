"""Gradual magnitude pruning whose kept weights all lie on paths from inputs to outputs.

Vysogorets and Kempe, 2023.
"""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights(
    "connected",
    "gradual magnitude (connected)",
    {"score": "magnitude", "schedule": "cubic", "pattern": "connected"},
)
