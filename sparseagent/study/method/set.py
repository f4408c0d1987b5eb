"""SET: sparse from the start; small weights go, random ones come. Mocanu et al., 2018."""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights("set", "SET", {"schedule": "early", "grow": "random", "prune_start": 0.0})
