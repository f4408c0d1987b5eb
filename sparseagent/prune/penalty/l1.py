"""The L1 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.prune.checks import require_strength
from sparseagent.prune.layer import Selection
from sparseagent.prune.penalised import penalised_weights


@dataclass(frozen=True)
class L1Penalty:
    """strength * sum |w| over all weights: drives single weights to zero.

    Source: Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996.

    Attributes:
        strength: Factor, 0 or more.
        layers: Which layers, as in `Sparsifier`; `None` for all.
    """

    strength: float
    layers: Selection | None = None

    def __post_init__(self) -> None:
        require_strength(self.strength)

    def __call__(self, module: nn.Module, batch: Any = None) -> Tensor:
        """The penalty, a scalar; the subgradient at 0 is 0."""
        sums = [i.weight.abs().sum() for i in penalised_weights(module, self.layers)]
        return self.strength * torch.stack(sums).sum()
