"""The first-order Taylor score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.checks import require_count
from sparseagent.prune.layer import Layer
from sparseagent.prune.observation import gradient


@dataclass(frozen=True)
class Taylor:
    """Keep the weights whose removal would change the loss most, to first order: (w * g)^2.

    The squares are averaged over several updates, each with the weights of its time.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019.

    Attributes:
        average: Gradient updates in the moving average, at least 1.
    """

    average: int = 50

    def __post_init__(self) -> None:
        require_count("average", self.average)

    def observe(self, layer: Layer) -> Tensor:
        """(weight * gradient)^2 of the present update, `[out, in]`."""
        return (layer.weight * gradient(layer)).square()

    def score(self, layer: Layer) -> Tensor:
        """Averaged (weight * gradient)^2, `[out, in]`."""
        return layer.require_observed("score")
