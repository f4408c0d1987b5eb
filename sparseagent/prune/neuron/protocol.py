"""What every neuron score has in common."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from sparseagent.prune.neurons import Neurons


class NeuronScore(Protocol):
    """Ranks the neurons of a layer."""

    def score(self, neurons: Neurons) -> Tensor:
        """Score the neurons of one layer.

        Args:
            neurons: The layer; it must not be changed.

        Returns:
            `[out]` finite scores, higher = keep.

        Raises:
            ValueError: What the score looks at is not there.
        """
        ...
