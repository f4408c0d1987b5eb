"""Gradual pruning by the distance of a weight from its start, of actor and critic alike."""

from __future__ import annotations

from sparseagent.study.method.alike import Alike

METHOD = Alike("gmp_drift", "distance from the start", {"score": "drift", "schedule": "cubic"})
