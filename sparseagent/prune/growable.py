"""Patterns into which pruned weights can come back."""

from __future__ import annotations

from typing import Protocol, TypeGuard

from torch import Tensor

from sparseagent.prune.pattern.protocol import Pattern


class GrowablePattern(Pattern, Protocol):
    """A pattern that finds a legal place for weights that come back; others refuse `grow`.

    Its `mask`, given scores without `-inf`, must keep what scores high as far as its shapes allow,
    whatever was kept before.
    """

    def pool(self, values: Tensor) -> Tensor:
        """Per weight, what counts for all that is kept or pruned together with it.

        Args:
            values: `[out, in]` finite numbers, higher = keep or grow.

        Returns:
            `[out, in]` finite numbers: for a block the mean of its values at each of its weights,
            for a pattern that decides weight by weight the values themselves.
        """
        ...


def is_growable(pattern: Pattern) -> TypeGuard[GrowablePattern]:
    """Whether pruned weights can come back under this pattern."""
    return callable(getattr(pattern, "pool", None))
