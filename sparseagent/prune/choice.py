"""One change of the masks of one part: score, split the budget, choose, and check each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparseagent.prune.allocation import Allocation
from sparseagent.prune.fixed_density import fixes_density
from sparseagent.prune.layer import Layer
from sparseagent.prune.layout import Part
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.score.protocol import Score


def choose_masks(
    part: Part,
    masks: Mapping[str, Tensor],
    sparsity: float,
    *,
    score: Score,
    allocate: Allocation,
    pattern: Pattern,
) -> dict[str, Tensor]:
    """Masks of a part at a higher sparsity than its present ones.

    Pruned weights get the score `-inf`, so no combination of methods can revive them.

    Args:
        part: The layers that share the budget.
        masks: Their present masks, `[out, in]` bool, by the name of the weight.
        sparsity: The sparsity wanted, in [0, 1).
        score: Which weights matter.
        allocate: How the budget is split over the layers, unless the pattern fixes the density.
        pattern: Which shapes of zeros are legal.

    Returns:
        The new masks, by the name of the weight.

    Raises:
        ValueError: One of the three broke its contract, or a weight is not finite.
    """
    scores = [_masked_scores(layer, masks[layer.name], score) for layer in part.layers]
    budget = part.budget(sparsity)
    if fixes_density(pattern):
        counts = pattern.counts(scores, budget)
    else:
        counts = allocate(scores, 1.0 - sparsity)
        _check_counts(counts, budget, [int(masks[i.name].sum()) for i in part.layers])
    chosen = {}
    for layer, layer_scores, count in zip(part.layers, scores, counts, strict=True):
        mask = pattern.mask(layer_scores, count)
        _check_mask(layer, mask, masks[layer.name], count)
        chosen[layer.name] = mask
    return chosen


def _masked_scores(layer: Layer, mask: Tensor, score: Score) -> Tensor:
    scores = score.score(layer)
    if scores.shape != layer.weight.shape:
        raise ValueError(
            f"score: expected {list(layer.weight.shape)} for {layer.name!r}, got "
            f"{list(scores.shape)}"
        )
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(f"score: expected finite scores for {layer.name!r}, got NaN or Inf")
    if not scores.is_floating_point():
        scores = scores.to(torch.float64)
    return scores.detach().masked_fill(~mask.to(scores.device), -torch.inf)


def _check_counts(counts: Sequence[int], total: int, alive: Sequence[int]) -> None:
    if (
        len(counts) != len(alive)
        or sum(counts) != total
        or any(not 1 <= count <= most for count, most in zip(counts, alive, strict=True))
    ):
        raise ValueError(
            f"allocate: expected {total} weights in all, from 1 up to {list(alive)} a layer, got "
            f"{list(counts)}"
        )


def _check_mask(layer: Layer, mask: Tensor, present: Tensor, count: int) -> None:
    if mask.dtype != torch.bool or mask.shape != layer.weight.shape:
        raise ValueError(
            f"pattern: expected a bool mask of {list(layer.weight.shape)} for {layer.name!r}, got "
            f"{mask.dtype} of {list(mask.shape)}"
        )
    revived = int((mask & ~present.to(mask.device)).sum())
    if revived or not 1 <= int(mask.sum()) <= count:
        raise ValueError(
            f"pattern: expected 1 to {count} kept weights for {layer.name!r} and none revived, got "
            f"{int(mask.sum())} kept and {revived} revived"
        )
