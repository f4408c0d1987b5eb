"""The Taylor neuron score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparseagent.prune.neurons import Neurons


@dataclass(frozen=True)
class NeuronTaylor:
    """Keep the neurons whose removal would change the loss the most, to first order.

    Removing neuron j sets its activation a_j to zero, which changes the loss by about the sum over
    the batch of a_j * dL/da_j. That sum is sum_k w_kj * dL/dw_kj over the outgoing weights, so the
    gradients of the last update suffice, and no activation has to be stored.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", 2017; with gates in "Importance Estimation for Neural Network Pruning", 2019.
    """

    def score(self, neurons: Neurons) -> Tensor:
        """Absolute first-order change of the loss, `[out]`.

        Raises:
            ValueError: An outgoing weight has no gradient.
        """
        change = torch.zeros(neurons.weight.shape[0], device=neurons.weight.device)
        for weight, grad in zip(neurons.outgoing, neurons.outgoing_grad, strict=True):
            if grad is None:
                raise ValueError(
                    f"score: expected gradients in the layers that read the neurons of "
                    f"{neurons.name!r}, got None; call loss.backward() before, without zero_grad()"
                )
            change = change + (weight * grad).sum(dim=0)
        return change.abs()
