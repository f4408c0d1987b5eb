"""The regulariser of neuron contributions, as published and well-posed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sparseagent.prune.activity import Activity
from sparseagent.prune.checks import require_positive, require_strength
from sparseagent.prune.layer import Selection
from sparseagent.prune.neurons import record
from sparseagent.prune.penalised import penalised_neurons


@dataclass(frozen=True)
class ContributionPenalty:
    """Presses on the small weights of the neurons that contribute little.

    As written, for the incoming weights theta of hidden neuron i,

        R = sum_i lambda_i * log(1 / (1 + exp(-alpha * theta_i))) * |theta_i|,

    with lambda_i = p_i / sum_j p_j and p_i the normalised mean absolute activation (`Activity`).
    `as_written=True` computes this. It is no penalty: the logarithm is never positive, so R <= 0,
    and for theta -> -inf it falls like -alpha * theta^2. Minimising it sends weights to -inf.

    The default is well-posed:

        R = sum_i mu_i * log(1 + exp(-alpha * |theta_i|)) * |theta_i|,

    with mu_i = (1 - lambda_i) / (n - 1). It follows in three steps. The sign: -log(sigmoid) is a
    cost, 0 or more. The argument: |theta| in place of theta makes the cost even, zero at zero, and
    at most 0.32 / alpha, with the slope log 2 at zero: an L1 pressure on small weights that
    releases the large ones. The factor: with the sign turned, lambda_i would press the most on
    those that contribute the most; the only affine map that turns the order round, keeps the sum
    at 1 and gives 0 to a neuron that does everything is mu_i. A single neuron has mu = 1.

    lambda and mu count as constants in the gradient. They are computed on a batch at each call.

    Attributes:
        strength: Factor, 0 or more.
        alpha: Steepness, more than 0; weights far beyond 1 / alpha feel nothing.
        as_written: Whether to compute the published formula.
        layers: Which hidden layers, as in `Sparsifier`; `None` for all.
    """

    strength: float
    alpha: float = 1.0
    as_written: bool = False
    layers: Selection | None = None

    def __post_init__(self) -> None:
        require_strength(self.strength)
        require_positive("alpha", self.alpha)

    def __call__(self, module: nn.Module, batch: Any = None) -> Tensor:
        """The penalty, a scalar; the subgradient at 0 is 0.

        Raises:
            ValueError: There is no batch, the module has no hidden neurons, or cannot be traced.
        """
        if batch is None:
            raise ValueError(
                "batch: expected inputs on which to measure contributions, got None; call "
                "penalty(module, batch)"
            )
        hidden = penalised_neurons(module, self.layers)
        recorded = record(module, hidden, batch)
        sums = []
        for one in hidden:
            shares = Activity.of(recorded[one.name]).shares
            weight = one.layer.weight
            if self.as_written:
                costs = logsigmoid(self.alpha * weight) * weight.abs()
            else:
                costs = -logsigmoid(self.alpha * weight.abs()) * weight.abs()
                shares = turned(shares)
            sums.append((shares * costs.sum(dim=1)).sum())
        return self.strength * torch.stack(sums).sum()


def turned(shares: Tensor) -> Tensor:
    """mu_i = (1 - lambda_i) / (n - 1) for shares `[n]` that add up to 1."""
    return torch.ones_like(shares) if len(shares) == 1 else (1.0 - shares) / (len(shares) - 1)
