"""The L2 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.prune.checks import require_strength
from sparseagent.prune.layer import Selection
from sparseagent.prune.penalised import penalised_weights


@dataclass(frozen=True)
class L2Penalty:
    """strength * sum w^2 over all weights: keeps them small, and none at zero.

    Through Adam it is not the weight decay of AdamW: the penalty's gradient is scaled as that of
    the loss is.

    Attributes:
        strength: Factor, 0 or more.
        layers: Which layers, as in `Sparsifier`; `None` for all.
    """

    strength: float
    layers: Selection | None = None

    def __post_init__(self) -> None:
        require_strength(self.strength)

    def __call__(self, module: nn.Module, batch: Any = None) -> Tensor:
        """The penalty, a scalar."""
        sums = [i.weight.square().sum() for i in penalised_weights(module, self.layers)]
        return self.strength * torch.stack(sums).sum()
