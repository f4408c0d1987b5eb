"""Patterns that say by themselves how many weights a layer keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from sparseagent.prune.allocation import Allocation, erk, uniform
from sparseagent.prune.layout import Layout, Part
from sparseagent.prune.pattern.protocol import Pattern

# Whoever asks for 0.875 where groups at the edge make it 0.8764 means the same.
_ROUNDED = 0.005


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


def require_legal(layout: Layout, pattern: Pattern, allocate: Allocation | None) -> Allocation:
    """Refuse a pattern that cannot reach the final sparsities, before training starts.

    An allocation that looks at the scores is known only when it is asked, so the combination with
    one is checked at each change of the masks instead.

    Args:
        layout: What is pruned, and how far.
        pattern: Which shapes of zeros are legal.
        allocate: How the budget of a part is split; `None` for the default.

    Returns:
        The allocation to use; a pattern of fixed density does not ask it.

    Raises:
        ValueError: The pattern fixes the density and an allocation or another sparsity was asked
            for, or a layer's share is too small for the pattern.
    """
    if fixes_density(pattern):
        if allocate is not None:
            raise ValueError(
                f"allocate: expected None beside {pattern}, which fixes the density of every layer"
            )
        for part in _pruned(layout):
            _require_final(part, pattern)
        return uniform
    chosen = erk if allocate is None else allocate
    if chosen in (erk, uniform):
        for part in _pruned(layout):
            for scores, kept in zip(
                blank := _blank(part), chosen(blank, _density(part)), strict=True
            ):
                pattern.mask(scores, kept)
    return chosen


def _pruned(layout: Layout) -> list[Part]:
    return [part for part in layout.parts if part.final > 0.0]


def _density(part: Part) -> float:
    return 1.0 - part.final


def _blank(part: Part) -> list[Tensor]:
    return [torch.zeros(layer.weight.shape) for layer in part.layers]


def _require_final(part: Part, pattern: FixedDensity) -> None:
    """The final sparsity must be the pattern's own, or less by at most `_ROUNDED`."""
    blank, budget = _blank(part), part.budget(part.final)
    final = pattern.final_count(blank)
    gives = 1.0 - final / part.budget(0.0)
    near = budget >= final and part.final >= gives - _ROUNDED
    if not near or sum(pattern.counts(blank, budget)) != final:
        # Rounded down: asking for this number leaves room for every weight.
        shown = math.floor(gives * 1e6) / 1e6
        argument = "critic_sparsity" if part.name == "critic" else "schedule"
        raise ValueError(
            f"{argument}: expected a final sparsity of {shown} for the {part.name}, as {pattern} "
            f"gives, got {part.final}"
        )
