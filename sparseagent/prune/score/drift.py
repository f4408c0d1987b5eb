"""The score of how far training has moved a weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparseagent.prune.layer import Layer


@dataclass(frozen=True)
class Drift:
    """Keep the weights that training has moved furthest: |w - w at the start|.

    A weight that training never needed keeps the size it was drawn with, and magnitude takes that
    for importance. The start is taken at the first update that the sparsifier sees: of an agent
    that was loaded, it is the weights as they were loaded. It is part of the sparsifier's saved
    state. A weight that growth brings back starts at zero.

    Source: Zhou et al., "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask", 2019,
    which compares criteria of initial and final weights, this one among them ("movement").
    """

    @property
    def average(self) -> int:
        """What was observed last stands for itself."""
        return 1

    def observe(self, layer: Layer) -> Tensor:
        """The weights at the start, `[out, in]`, zero where they have been pruned since."""
        start = layer.weight if layer.observed is None else layer.observed
        # The weights that are exactly zero are those that are pruned.
        return torch.where(layer.weight == 0, 0.0, start)

    def score(self, layer: Layer) -> Tensor:
        """Distances from the start, `[out, in]`."""
        return (layer.weight.detach() - layer.require_observed("score")).abs()
