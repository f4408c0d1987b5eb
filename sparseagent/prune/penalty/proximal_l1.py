"""The L1 penalty as a proximal step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.prune.checks import require_strength
from sparseagent.prune.layer import Selection
from sparseagent.prune.penalised import penalised_weights
from sparseagent.prune.selection import First

_FIRST = First(1)


@dataclass(frozen=True)
class ProximalL1:
    """strength * sum |w| by soft thresholds: single weights of the input layer become exactly zero.

    After each update every weight moves towards zero by learning rate * strength. One that would
    change its sign becomes zero, until a gradient moves it again. The gradient of `L1Penalty`
    gives no zeros, and Adam rescales it.

    Source: Daubechies et al., "An iterative thresholding algorithm for linear inverse problems with
    a sparsity constraint", 2004.

    Attributes:
        strength: Factor, 0 or more.
        layers: Which layers, as in `Sparsifier`; the first one unless said, `None` for all.
    """

    strength: float
    layers: Selection | None = _FIRST

    def __post_init__(self) -> None:
        require_strength(self.strength)

    def __call__(self, module: nn.Module, batch: Any = None) -> Tensor:
        """The penalty, a scalar; for a loss, `L1Penalty` is the same."""
        sums = [layer.weight.abs().sum() for layer in penalised_weights(module, self.layers)]
        return self.strength * torch.stack(sums).sum()

    @torch.no_grad()
    def shrink(self, module: nn.Module, step: float) -> None:
        """Soft thresholds at step * strength, in place."""
        threshold = step * self.strength
        for layer in penalised_weights(module, self.layers):
            weight = layer.weight
            weight.copy_(weight.sign() * (weight.abs() - threshold).clamp_(min=0.0))
