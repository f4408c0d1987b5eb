"""Hybrid pruning: half of the neurons first, then single weights in what remains."""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights("hybrid", "neurons then weights", {"pattern": "hybrid"})
