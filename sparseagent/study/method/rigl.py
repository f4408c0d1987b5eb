"""RigL: sparse from the start; small weights go, those of large gradient come.

Evci et al., 2020.
"""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights("rigl", "RigL", {"schedule": "early", "grow": "gradient", "prune_start": 0.0})
