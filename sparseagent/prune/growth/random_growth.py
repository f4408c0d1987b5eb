"""Growth at random: SET."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.draw import draw, require_seed
from sparseagent.prune.layer import Layer


@dataclass(frozen=True)
class RandomGrowth:
    """Bring pruned weights back at random; with a magnitude score this is SET.

    Source: Mocanu et al., "Scalable Training of Artificial Neural Networks with Adaptive Sparse
    Connectivity inspired by Network Science", 2018.

    Attributes:
        seed: Any integer; equal seeds grow equal weights, on every device.
    """

    seed: int

    def __post_init__(self) -> None:
        require_seed(self.seed)

    def growth(self, layer: Layer, change: int) -> Tensor:
        """Uniform numbers in [0, 1), `[out, in]`, others at every change."""
        return draw(layer, f"grow:{self.seed}:{change}:{layer.name}")
