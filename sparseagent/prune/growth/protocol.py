"""What every growth has in common."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from sparseagent.prune.layer import Layer


class Growth(Protocol):
    """Ranks the pruned weights of a layer: which of them come back first."""

    def growth(self, layer: Layer, change: int) -> Tensor:
        """Rank the weights of one layer.

        Args:
            layer: The layer; its weight is `[out, in]`. `layer.observed` holds the average of what
                `observe` returned, if this growth has that method (see `Observer`).
            change: How many times weights were dropped and grown before, from 0.

        Returns:
            `[out, in]` finite numbers, higher = grown first; those of kept weights are not looked
            at. The layer must not be changed, and equal arguments must give equal numbers: that
            makes a resumed run repeat the unbroken one.
        """
        ...


def exchanges(growth: Growth, layer: Layer) -> bool:
    """Whether weights of a layer are exchanged: of every layer, unless the growth says otherwise.

    A growth that has a method `exchanges(layer) -> bool` is asked.
    """
    asked = getattr(growth, "exchanges", None)
    return asked is None or bool(asked(layer))
