"""Automatic pruning: as far as the return allows, at most to the sparsity asked for.

After Vincent et al., "Eau De Q-Network", 2025.
"""

from __future__ import annotations

from sparseagent.study.method.weights import Weights

METHOD = Weights("automatic", "automatic", {"schedule": "automatic"}, must_reach=False)
