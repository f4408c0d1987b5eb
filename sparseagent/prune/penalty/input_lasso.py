"""The group lasso over inputs, as a proximal step."""

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
class InputLasso:
    """strength * sum over inputs of sqrt(out) * ||outgoing weights||: whole inputs become zero.

    After each update every column of the input layer is shortened by learning rate * strength *
    sqrt(out); one that is shorter than that becomes exactly zero, until a gradient moves it again.
    So an input is used by all neurons or by none, where `ProximalL1` decides weight by weight.

    Source: Yuan & Lin, "Model Selection and Estimation in Regression with Grouped Variables", 2006;
    over the inputs of a network: Scardapane et al., "Group Sparse Regularization for Deep Neural
    Networks", 2017.

    Attributes:
        strength: Factor, 0 or more.
        layers: Whose columns, as in `Sparsifier`; those of the first layer unless said.
    """

    strength: float
    layers: Selection | None = _FIRST

    def __post_init__(self) -> None:
        require_strength(self.strength)

    def __call__(self, module: nn.Module, batch: Any = None) -> Tensor:
        """The penalty, a scalar; the subgradient of an input without weights is 0."""
        sums = []
        for layer in penalised_weights(module, self.layers):
            norms = torch.linalg.vector_norm(layer.weight, dim=0)
            sums.append(layer.weight.shape[0] ** 0.5 * norms.sum())
        return self.strength * torch.stack(sums).sum()

    @torch.no_grad()
    def shrink(self, module: nn.Module, step: float) -> None:
        """Block soft thresholds at step * strength * sqrt(out), in place."""
        for layer in penalised_weights(module, self.layers):
            weight = layer.weight
            threshold = step * self.strength * weight.shape[0] ** 0.5
            norms = torch.linalg.vector_norm(weight, dim=0)
            # A column of zeros stays one.
            share = (1.0 - threshold / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp_(0.0)
            weight.mul_(share)
