"""The dormancy of ReDo as a neuron score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparseagent.prune.neurons import Neurons


@dataclass(frozen=True)
class NeuronDormancy:
    """Keep the neurons that are active, in proportion to their layer.

    The score is the mean absolute activation over the batch, divided by the mean of this over the
    layer, so that 1 is an average neuron. A neuron at or below tau is tau-dormant; removing those
    with tau = 0.1 (`below=0.1`) did not change the return.

    Source: Sokar et al., "The Dormant Neuron Phenomenon in Deep Reinforcement Learning" (ReDo),
    2023.
    """

    def score(self, neurons: Neurons) -> Tensor:
        """Relative mean absolute activation, `[out]`; zeros where the whole layer is silent.

        Raises:
            ValueError: No batch was given.
        """
        activity = neurons.activations.abs().mean(dim=0)
        average = activity.mean()
        return activity / average if bool(average > 0) else torch.zeros_like(activity)
