"""How active hidden neurons are: the p_i, lambda_i and entropy of a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Activity:
    """Of one layer of n neurons.

    Attributes:
        p: Output probability of each neuron, `[n]` in [0, 1]: its mean absolute activation on a
            batch, divided by the largest of the layer. Zeros for a silent layer.
    """

    p: Tensor

    @staticmethod
    def of(activations: Tensor) -> Activity:
        """From activations `[N, n]`."""
        means = activations.abs().mean(dim=0)
        largest = means.max()
        return Activity(means / largest if bool(largest > 0) else torch.zeros_like(means))

    @property
    def shares(self) -> Tensor:
        """lambda_i = p_i / sum_j p_j, `[n]`, adding up to 1; all alike for a silent layer."""
        total = self.p.sum()
        return self.p / total if bool(total > 0) else torch.full_like(self.p, 1.0 / len(self.p))

    @property
    def entropy(self) -> float:
        """-sum_i lambda_i log lambda_i in nats: 0 if one neuron does it all, log n if all alike."""
        return float(torch.special.entr(self.shares.double()).sum())

    @property
    def relative_entropy(self) -> float:
        """Entropy divided by log n, in [0, 1]; 1 for a single neuron."""
        return self.entropy / math.log(len(self.p)) if len(self.p) > 1 else 1.0
