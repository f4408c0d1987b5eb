"""What every penalty has in common."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Penalty(Protocol):
    """A term of the loss: `loss + penalty(module)`, or `penalise` for a loop of somebody else."""

    def __call__(self, module: nn.Module, batch: Any = None) -> Tensor:
        """The penalty of a module's present weights.

        Args:
            module: A network; of a policy of Stable-Baselines3 the acting network counts.
            batch: Inputs on which activations are looked at, as in `neurons.record`; most
                penalties need none.

        Returns:
            A scalar with gradients with respect to the weights.

        Raises:
            ValueError: A batch is needed and missing, or the module has nothing to penalise.
        """
        ...
