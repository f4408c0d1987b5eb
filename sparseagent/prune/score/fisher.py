"""The empirical Fisher score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.checks import require_count
from sparseagent.prune.layer import Layer
from sparseagent.prune.observation import gradient


@dataclass(frozen=True)
class Fisher:
    """Keep the weights whose removal would raise the loss most, to second order: w^2 / 2 * E[g^2].

    Optimal Brain Damage with the diagonal of the empirical Fisher matrix in the place of the
    Hessian's. The gradients are those of mini-batches, not of single samples: E[g^2] is that of the
    mini-batch mean.

    Source: LeCun et al., "Optimal Brain Damage", 1990; Fisher form as in Theis et al., "Faster Gaze
    Prediction with Dense Networks and Fisher Pruning", 2018.

    Attributes:
        average: Gradient updates in the moving average of g^2, at least 1.
    """

    average: int = 50

    def __post_init__(self) -> None:
        require_count("average", self.average)

    def observe(self, layer: Layer) -> Tensor:
        """Squared gradient of the present update, `[out, in]`."""
        return gradient(layer).square()

    def score(self, layer: Layer) -> Tensor:
        """Half the squared weight times the averaged squared gradient, `[out, in]`."""
        return 0.5 * layer.weight.detach().square() * layer.require_observed("score")
