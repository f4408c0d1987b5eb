"""The activation-based neuron score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.neurons import Neurons


@dataclass(frozen=True)
class NeuronContribution:
    """Keep the neurons that add the most to the layers behind them.

    Neuron j adds w_kj * a_j to neuron k; the score is the mean over the batch of |a_j|, times the
    sum over k of |w_kj|: how much the next layer loses, in absolute terms, without it.

    Source: the data-driven score of Hu et al., "Network Trimming", 2016, made absolute and
    weighted by what the next layer does with the neuron, so that tanh units are ranked too.
    """

    def score(self, neurons: Neurons) -> Tensor:
        """Mean absolute activation times the L1 norm of the outgoing weights, `[out]`.

        Raises:
            ValueError: No batch was given.
        """
        outgoing = sum(weight.abs().sum(dim=0) for weight in neurons.outgoing)
        return neurons.activations.abs().mean(dim=0) * outgoing
