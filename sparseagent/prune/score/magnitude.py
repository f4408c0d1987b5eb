"""The magnitude score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.layer import Layer


@dataclass(frozen=True)
class Magnitude:
    """Keep the weights of largest absolute value.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks",
    2015. With a gradual schedule it is the strongest simple method in deep RL (Graesser et al.,
    "The State of Sparse Training in Deep Reinforcement Learning", 2022).
    """

    def score(self, layer: Layer) -> Tensor:
        """Absolute values of the weights, `[out, in]`."""
        return layer.weight.detach().abs()
