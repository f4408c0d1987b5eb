"""What every score has in common."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from sparseagent.prune.layer import Layer


class Score(Protocol):
    """Ranks the weights of a layer."""

    def score(self, layer: Layer) -> Tensor:
        """Score the weights of one layer.

        Args:
            layer: The layer; its weight is `[out, in]`. `layer.observed` holds the average of what
                `observe` returned, if this score has that method (see `Observer`).

        Returns:
            `[out, in]` finite scores, higher = keep. The layer must not be changed, and equal
            layers must get equal scores: that makes a resumed run repeat the unbroken one.
        """
        ...
