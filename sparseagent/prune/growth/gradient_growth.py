"""Growth where the loss wants it: RigL."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.checks import require_count
from sparseagent.prune.layer import Layer
from sparseagent.prune.observation import gradient


@dataclass(frozen=True)
class GradientGrowth:
    """Bring back the pruned weights whose gradient is largest; with a magnitude score this is RigL.

    The gradient of one mini-batch says little in deep RL (signal to noise about 0.01, Graesser et
    al., 2022), so it is averaged with its sign, as a larger batch would do, before its absolute
    value is taken.

    Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", 2020.

    Attributes:
        average: Gradient updates in the moving average, at least 1; 1 is RigL as published.
    """

    average: int = 8

    def __post_init__(self) -> None:
        require_count("average", self.average)

    def observe(self, layer: Layer) -> Tensor:
        """The gradient of the present update, pruned weights included, `[out, in]`."""
        return gradient(layer)

    def growth(self, layer: Layer, change: int) -> Tensor:
        """Absolute value of the averaged gradient, `[out, in]`."""
        return layer.require_observed("grow").abs()
