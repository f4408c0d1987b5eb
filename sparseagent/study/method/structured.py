"""Structured pruning: whole neurons are removed on a cubic ramp, and the layers really shrink."""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights("structured", "whole neurons", {"pattern": "neurons", "allocation": "pattern"})
