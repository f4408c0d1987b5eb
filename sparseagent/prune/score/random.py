"""The random score: the control that every other score has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.draw import draw, require_seed
from sparseagent.prune.layer import Layer


@dataclass(frozen=True)
class Random:
    """Keep weights drawn at random, independent of their values.

    The scores are a pure function of the seed, the layer's name and its shape. They do not change
    during a run, so a gradual schedule ends at the masks that one shot would have given, and a
    resumed run needs no generator state.

    Attributes:
        seed: Any integer; equal seeds give equal masks, on every device.
    """

    seed: int

    def __post_init__(self) -> None:
        require_seed(self.seed)

    def score(self, layer: Layer) -> Tensor:
        """Uniform numbers in [0, 1), `[out, in]`."""
        return draw(layer, f"{self.seed}:{layer.name}")
