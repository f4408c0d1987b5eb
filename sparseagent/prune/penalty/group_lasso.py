"""The group lasso over neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.prune.checks import require_strength
from sparseagent.prune.layer import Selection
from sparseagent.prune.penalised import penalised_neurons


@dataclass(frozen=True)
class GroupLasso:
    """strength * sum over hidden neurons of sqrt(in) * ||incoming weights||: whole neurons go.

    The root of the number of weights makes layers of different fan-in comparable.

    Source: Yuan & Lin, "Model Selection and Estimation in Regression with Grouped Variables", 2006;
    over neurons: Wen et al., "Learning Structured Sparsity in Deep Neural Networks", 2016.

    Attributes:
        strength: Factor, 0 or more.
        layers: Which hidden layers, as in `Sparsifier`; `None` for all.
    """

    strength: float
    layers: Selection | None = None

    def __post_init__(self) -> None:
        require_strength(self.strength)

    def __call__(self, module: nn.Module, batch: Any = None) -> Tensor:
        """The penalty, a scalar; the subgradient of a neuron without weights is 0.

        Raises:
            ValueError: The module has no hidden neurons, or cannot be traced.
        """
        sums = []
        for hidden in penalised_neurons(module, self.layers):
            weight = hidden.layer.weight
            norms = torch.linalg.vector_norm(weight, dim=1)
            sums.append(weight.shape[1] ** 0.5 * norms.sum())
        return self.strength * torch.stack(sums).sum()
