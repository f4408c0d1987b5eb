"""Gradual pruning that keeps whole inputs by their norm, of actor and critic alike.

In all layers but the first it is gradual magnitude pruning. For observations of which much is
irrelevant: a critic that reads all of it teaches the actor noise.
"""

from __future__ import annotations

from sparseagent.study.method.alike import Alike

METHOD = Alike("gmp_inputs", "whole inputs", {"score": "inputs", "schedule": "cubic"})
