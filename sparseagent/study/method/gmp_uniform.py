"""Gradual magnitude pruning with the same sparsity in every layer: what ERK is compared with."""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights("gmp_uniform", "gradual magnitude (uniform)", {"allocation": "uniform"})
