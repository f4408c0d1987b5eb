"""Gradual magnitude pruning: small weights go first, on a cubic ramp, split over layers by ERK.

Zhu and Gupta, 2017; Erdos-Renyi kernel: Evci et al., 2020.
"""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights("gmp", "gradual magnitude", {"score": "magnitude", "schedule": "cubic"})
