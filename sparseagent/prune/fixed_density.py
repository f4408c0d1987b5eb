"""Patterns that say by themselves how many weights a layer keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeGuard

from torch import Tensor

from sparseagent.prune.pattern.protocol import Pattern


class FixedDensity(Pattern, Protocol):
    """A pattern such as 2:4, whose final density follows from its own numbers.

    It splits the budget in the place of an allocation.
    """

    @property
    def fixes_density(self) -> bool:
        """Whether it does; a pattern may leave the density to the budget."""
        ...

    def counts(self, scores: Sequence[Tensor], kept: int) -> list[int]:
        """Weights that each layer keeps on the way to the final density.

        Args:
            scores: Per layer `[out, in]`, `-inf` = pruned for good.
            kept: Most weights to keep in all layers together.

        Returns:
            Kept weights per layer, legal ones, at most `kept` in all.

        Raises:
            ValueError: The final density keeps more.
        """
        ...

    def final_count(self, scores: Sequence[Tensor]) -> int:
        """Weights that all layers together keep in the end; arguments as in `counts`."""
        ...


def fixes_density(pattern: Pattern) -> TypeGuard[FixedDensity]:
    """Whether the pattern, and not an allocation, splits the budget."""
    return bool(getattr(pattern, "fixes_density", False))
