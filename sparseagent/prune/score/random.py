"""The random score: the control that every other score has to beat."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

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
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"seed: expected an int, got {type(self.seed).__name__}")

    def score(self, layer: Layer) -> Tensor:
        """Uniform numbers in [0, 1), `[out, in]`."""
        digest = hashlib.blake2b(f"{self.seed}:{layer.name}".encode(), digest_size=8).digest()
        # Drawn on the CPU: the generators of other devices give other numbers.
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
        scores = torch.rand(layer.weight.shape, generator=generator)
        return scores.to(layer.weight.device)
