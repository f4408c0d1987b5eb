"""Static sparse training: a random mask with ERK's densities, made before training and kept.

The lower bound of sparse training in Graesser et al., 2022.
"""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights(
    "static", "static random", {"score": "random", "schedule": "early", "prune_start": 0.0}
)
