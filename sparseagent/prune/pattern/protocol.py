"""What every pattern has in common."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Pattern(Protocol):
    """Turns scores into a legal mask.

    A pattern whose numbers fix the density, such as 2:4, says so as a
    `fixed_density.FixedDensity`.

    A pattern may also have an attribute `grows = True`: pruned weights that come back with high
    scores then find a legal place, whichever they are. Without it, it is refused beside `grow`.
    """

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """Choose the weights to keep.

        Args:
            scores: `[out, in]`, higher = keep; `-inf` marks a weight that is pruned already and
                must not come back.
            kept: How many weights to keep, at least 1 and at most the number of finite scores.

        Returns:
            `[out, in]` bool mask, True = kept, with `kept` entries True; a pattern whose legal
            counts are coarser keeps at least 1 and at most `kept`, as many as its shapes allow.
            Ties are broken the same way on every call.

        Raises:
            ValueError: No legal mask keeps as few as `kept`, or a score is NaN.
        """
        ...
