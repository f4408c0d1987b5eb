"""The SNIP score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.layer import Layer
from sparseagent.prune.observation import gradient


@dataclass(frozen=True)
class Snip:
    """Keep the connections to which the loss is most sensitive, judged before training: |w * g|.

    w * g is the derivative of the loss by a factor on the weight; it is averaged over the updates
    so far, as one large batch would do. Made for one shot at or near the start of a run, such as
    `OneShot(to=0.9, at=0.01)`, which leaves the first hundredth of the updates to judge by.

    Source: Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", 2019.
    """

    @property
    def average(self) -> None:
        """All updates count alike."""
        return None

    def observe(self, layer: Layer) -> Tensor:
        """Weight * gradient of the present update, `[out, in]`."""
        return layer.weight * gradient(layer)

    def score(self, layer: Layer) -> Tensor:
        """Absolute value of the averaged weight * gradient, `[out, in]`."""
        return layer.require_observed("score").abs()
