"""The movement score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.layer import Layer
from sparseagent.prune.observation import gradient


@dataclass(frozen=True)
class Movement:
    """Keep the weights that training moves away from zero: the mean of -w * g over all updates.

    A weight that was pruned is zero and does not move, so its score fades. The published sum of
    -w * g and this mean rank the weights of a layer alike.

    Source: Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020.
    """

    @property
    def average(self) -> None:
        """All updates count alike."""
        return None

    def observe(self, layer: Layer) -> Tensor:
        """-weight * gradient of the present update, `[out, in]`."""
        return -layer.weight * gradient(layer)

    def score(self, layer: Layer) -> Tensor:
        """Mean of -weight * gradient, `[out, in]`, below zero where weights shrink."""
        return layer.require_observed("score")
