"""The L1 neuron score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.neurons import Neurons


@dataclass(frozen=True)
class NeuronL1:
    """Keep the neurons whose incoming weights have the largest sum of absolute values.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", 2017.
    """

    def score(self, neurons: Neurons) -> Tensor:
        """Sum of |w| over the row of each neuron, `[out]`."""
        return neurons.weight.abs().sum(dim=1)
