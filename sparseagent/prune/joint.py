"""Patterns that choose the masks of all layers together, because neurons lie between two layers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, TypeGuard

import torch
from torch import Tensor, nn

from sparseagent.prune.layer import Layer
from sparseagent.prune.neuron_layers import find_neurons
from sparseagent.prune.pattern.protocol import Pattern

Split: TypeAlias = Callable[[Sequence[Tensor]], list[int]]
"""`split(scores) -> counts`: the budget over the layers, by the allocation."""


class JointPattern(Pattern, Protocol):
    """A pattern that sees all layers of a part at once."""

    @property
    def allocates(self) -> bool:
        """Whether it splits the budget by itself, so that an allocation is refused."""
        ...

    @property
    def needs_neurons(self) -> bool:
        """Whether a part without hidden neurons that can be pruned is refused."""
        ...

    def masks(
        self,
        scores: Sequence[Tensor],
        sources: Sequence[int | None],
        kept: int,
        split: Split,
        end: Split,
    ) -> list[Tensor]:
        """Choose the weights to keep in all layers.

        Args:
            scores: Per layer `[out, in]`, higher = keep, `-inf` = pruned for good.
            sources: For each layer the place of the layer whose neurons it reads, where these may
                be pruned; else `None`.
            kept: Most weights to keep in all.
            split: The allocation's counts for scores of the same shapes.
            end: The same at the end of the schedule, where fewer weights are kept.

        Returns:
            Bool masks shaped like the scores.

        Raises:
            ValueError: No legal masks keep as few.
        """
        ...


def is_joint(pattern: Pattern) -> TypeGuard[JointPattern]:
    """Whether a pattern chooses for all layers together."""
    return callable(getattr(pattern, "masks", None))


def find_sources(module: nn.Module, layers: Sequence[Layer]) -> tuple[int | None, ...]:
    """For each layer the place of the one whose neurons it reads, if these can be removed.

    Raises:
        ValueError: The module cannot be traced.
    """
    order = {layer.module: place for place, layer in enumerate(layers)}
    sources: list[int | None] = [None] * len(layers)
    for neurons in find_neurons(module):
        for read in neurons.reads:
            if read.layer in order and not neurons.fixed:
                sources[order[read.layer]] = order.get(neurons.layer)
    return tuple(sources)


def keep_neurons(
    scores: Sequence[Tensor], sources: Sequence[int | None], share: float
) -> list[Tensor]:
    """Prune whole neurons: rows, and the columns of the layers that read them.

    Every hidden layer keeps `share` of its neurons, rounded down, and at least one. A neuron's
    score is the mean of the scores of its incoming and outgoing weights that are not pruned yet;
    ties go to the first neuron.

    Args:
        scores: Per layer `[out, in]`, `-inf` = pruned for good.
        sources: As in `JointPattern.masks`.
        share: Share of the neurons to keep, in (0, 1].

    Returns:
        Masks of the weights between the neurons that are left, and not pruned before.
    """
    left: dict[int | None, Tensor] = {}
    for place in {source for source in sources if source is not None}:
        ranks = _neuron_scores(scores, sources, place)
        # A share is a ratio of small whole numbers; its product may lie a hair below one.
        count = max(1, int(share * len(ranks) + 1e-9))
        order = torch.argsort(ranks, descending=True, stable=True)
        left[place] = torch.zeros(len(ranks), dtype=torch.bool, device=ranks.device)
        left[place][order[:count]] = True
    masks = []
    for place, (layer, source) in enumerate(zip(scores, sources, strict=True)):
        mask = layer > -torch.inf
        if place in left:
            mask = mask & left[place][:, None]
        if source is not None:
            mask = mask & left[source]
        masks.append(mask)
    return masks


def largest_share(
    scores: Sequence[Tensor], sources: Sequence[int | None], kept: int, least: float
) -> float:
    """The largest share of neurons that keeps at most `kept` weights, or `least`, in (0, 1]."""
    widths = {scores[source].shape[0] for source in sources if source is not None}
    shares = sorted({count / width for width in widths for count in range(1, width + 1)} | {1.0})
    shares = [share for share in shares if share > least]
    fitting = bisect_right(
        shares, kept, key=lambda share: count_kept(keep_neurons(scores, sources, share))
    )
    return shares[fitting - 1] if fitting else least


def count_kept(masks: Iterable[Tensor]) -> int:
    """Weights that masks keep in all."""
    return sum(int(mask.sum()) for mask in masks)


def _neuron_scores(scores: Sequence[Tensor], sources: Sequence[int | None], place: int) -> Tensor:
    """Mean score of the weights of each neuron of a layer, `[out]`; `-inf` for one without any."""
    sides = [scores[place]]
    sides += [layer.T for layer, source in zip(scores, sources, strict=True) if source == place]
    weights = torch.cat([side.detach().double() for side in sides], dim=1)
    alive = weights > -torch.inf
    sums, counts = weights.masked_fill(~alive, 0.0).sum(dim=1), alive.sum(dim=1)
    return torch.where(counts > 0, sums / counts, -torch.inf)
