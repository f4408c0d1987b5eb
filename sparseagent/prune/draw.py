"""Random numbers that are a pure function of a key: a resumed run needs no generator state."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from sparseagent.prune.layer import Layer


def require_seed(seed: object) -> None:
    """Raise unless `seed` is an int."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: expected an int, got {type(seed).__name__}")


def draw(layer: Layer, key: str) -> Tensor:
    """Uniform numbers in [0, 1), `[out, in]`: equal keys and shapes give equal ones, everywhere."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    # Drawn on the CPU: the generators of other devices give other numbers.
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
    numbers = torch.rand(layer.weight.shape, generator=generator)
    return numbers.to(layer.weight.device)
