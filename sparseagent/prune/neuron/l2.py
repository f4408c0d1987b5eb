"""The L2 neuron score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.neurons import Neurons


@dataclass(frozen=True)
class NeuronL2:
    """Keep the neurons whose incoming weights have the largest Euclidean norm.

    It favours neurons with a few large weights more than `NeuronL1` does. Source: He et al., "Soft
    Filter Pruning for Accelerating Deep Convolutional Neural Networks", 2018.
    """

    def score(self, neurons: Neurons) -> Tensor:
        """Square root of the sum of w^2 over the row of each neuron, `[out]`."""
        return neurons.weight.square().sum(dim=1).sqrt()
