"""One change of the masks of one part: score, split the budget, choose, and check each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparseagent.prune.allocation import Allocation
from sparseagent.prune.fixed_density import fixes_density
from sparseagent.prune.growable import is_growable
from sparseagent.prune.growth.protocol import exchanges
from sparseagent.prune.joint import count_kept, is_joint
from sparseagent.prune.layer import Layer
from sparseagent.prune.layout import Part
from sparseagent.prune.method import Method
from sparseagent.prune.observation import Averages
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.score.protocol import Score


def prune_part(
    part: Part,
    masks: Mapping[str, Tensor],
    sparsity: float,
    method: Method,
    observed: Mapping[str, Averages],
    *,
    first: bool,
) -> dict[str, Tensor]:
    """Masks of a part at a higher sparsity than its present ones.

    Pruned weights get the score `-inf`, so no combination of methods can revive them.

    Args:
        part: The layers that share the budget.
        masks: Their present masks, `[out, in]` bool, by the name of the weight.
        sparsity: The sparsity wanted, in [0, 1).
        method: How to choose.
        observed: What the score has observed, by role.
        first: Whether these are the first masks, for which `method.initial` is asked.

    Returns:
        The new masks, by the name of the weight.

    Raises:
        ValueError: Score, allocation or pattern broke its contract, or a weight is not finite.
    """
    role = "initial" if first and method.initial is not None else "score"
    score = method.initial if first and method.initial is not None else method.score
    scores = []
    for layer in part.layers:
        alive = masks[layer.name]
        values = finite_scores(layer, score, observed[role])
        scores.append(values.masked_fill(~alive.to(values.device), -torch.inf))
    chosen = {}
    for layer, mask in zip(part.layers, choose(part, scores, sparsity, method), strict=True):
        _check_none_revived(layer, mask, masks[layer.name])
        chosen[layer.name] = mask
    return chosen


def choose(
    part: Part,
    scores: Sequence[Tensor],
    sparsity: float,
    method: Method,
) -> list[Tensor]:
    """The masks `[out, in]` of the layers of a part, by a joint pattern or one by one.

    Raises:
        ValueError: Allocation or pattern broke its contract, or cannot keep as few.
    """

    def counts(left: Sequence[Tensor], sparsity: float = sparsity) -> list[int]:
        alive = [int((layer > -torch.inf).sum()) for layer in left]
        return split(part, left, alive, sparsity, method)

    def end(left: Sequence[Tensor]) -> list[int]:
        return counts(left, max(sparsity, part.final))

    if not is_joint(method.pattern):
        return [
            legal_mask(layer, values, count, method.pattern)
            for layer, values, count in zip(part.layers, scores, counts(scores), strict=True)
        ]
    budget = part.budget(sparsity)
    found = method.pattern.masks(scores, part.sources, budget, counts, end)
    if not len(part.layers) <= count_kept(found) <= budget:
        raise ValueError(
            f"pattern: expected {len(part.layers)} to {budget} kept weights in the {part.name}, "
            f"got {count_kept(found)}"
        )
    return found


def exchange_part(
    part: Part,
    masks: Mapping[str, Tensor],
    sparsity: float,
    method: Method,
    observed: Mapping[str, Averages],
    *,
    share: float,
    change: int,
) -> dict[str, Tensor]:
    """Masks of a part after a drop of low scores and as much growth.

    Each layer whose weights `grow` exchanges first drops `share` of the weights that it has and is
    to keep, those of the lowest scores; then each layer grows to its count with the highest growth,
    as far as the pattern allows. A weight just dropped may be grown at once, which leaves it as it
    was.

    Args:
        part: The layers that share the budget.
        masks: Their present masks, `[out, in]` bool, by the name of the weight.
        sparsity: The sparsity after the change, in [0, 1).
        method: How to choose; with `grow`.
        observed: What score and growth have observed, by role.
        share: What to exchange, in [0, 1).
        change: Exchanges before this one.

    Returns:
        The new masks, by the name of the weight.

    Raises:
        ValueError: A method broke its contract, or a weight is not finite.
    """
    assert method.grow is not None
    assert is_growable(method.pattern)
    scores = [finite_scores(layer, method.score, observed["score"]) for layer in part.layers]
    sizes = [layer.weight.numel() for layer in part.layers]
    counts = split(part, scores, sizes, sparsity, method)
    chosen = {}
    for layer, values, count in zip(part.layers, scores, counts, strict=True):
        alive = masks[layer.name].to(values.device)
        pooled = method.pattern.pool(values)
        # A pattern whose legal counts are coarse may have fewer than its count.
        has = min(count, int(alive.sum()))
        leaving = int(share * has) if exchanges(method.grow, layer) else 0
        staying = _highest(pooled.masked_fill(~alive, -torch.inf), has - leaving)
        growth = method.grow.growth(observed["grow"].show(layer), change)
        _check_scores("grow", layer, growth)
        ranked = _ranks(method.pattern.pool(growth.detach().to(values.device)))
        # Above all that grows, so that the pattern takes these first, and in their own order, so
        # that where it cannot keep all it drops those of the lowest scores.
        ranked[staying] = ranked.numel() + _ranks(pooled)[staying]
        chosen[layer.name] = legal_mask(layer, ranked, count, method.pattern)
    return chosen


def finite_scores(layer: Layer, score: Score, observed: Averages) -> Tensor:
    """The scores of a layer, `[out, in]`, checked.

    Raises:
        ValueError: They are of another shape or not finite.
    """
    scores = score.score(observed.show(layer))
    _check_scores("score", layer, scores)
    if not scores.is_floating_point():
        scores = scores.to(torch.float64)
    return scores.detach()


def split(
    part: Part,
    scores: Sequence[Tensor],
    alive: Sequence[int],
    sparsity: float,
    method: Method,
) -> list[int]:
    """Kept weights of each layer of a part, the output layers no thinner than their floor.

    Where the allocation gives an output layer less, it gets the floor, and the other layers share
    what is left.

    Args:
        part: The layers that share the budget.
        scores: Their scores, `[out, in]`, `-inf` = not to be kept.
        alive: The most that each layer can keep.
        sparsity: Of the whole part, in [0, 1).
        method: Its allocation and its floor, or a pattern that fixes the density.

    Raises:
        ValueError: The allocation broke its contract, or the floor leaves the others too little.
    """
    total = part.budget(sparsity)
    if fixes_density(method.pattern):
        return method.pattern.counts(scores, total)
    counts = _allocated(scores, alive, total, method.allocate)
    reserved = {}
    for index, layer in enumerate(part.layers):
        floor = min(round(method.output_floor * layer.weight.numel()), alive[index])
        if layer.name in part.outputs and counts[index] < floor:
            reserved[index] = floor
    if not reserved:
        return counts
    others = [index for index in range(len(counts)) if index not in reserved]
    left = total - sum(reserved.values())
    if left < len(others) or (not others and left):
        raise ValueError(
            f"output_floor: expected to leave the other {len(others)} layers of the {part.name} at "
            f"least one weight each, got {method.output_floor}, which leaves {left} of {total}"
        )
    rest = _allocated(
        [scores[i] for i in others], [alive[i] for i in others], left, method.allocate
    )
    return [reserved[i] if i in reserved else rest[others.index(i)] for i in range(len(counts))]


def legal_mask(layer: Layer, scores: Tensor, count: int, pattern: Pattern) -> Tensor:
    """The pattern's mask, `[out, in]` bool, checked.

    Raises:
        ValueError: It is of another kind or keeps more than `count` weights, or none.
    """
    mask = pattern.mask(scores, count)
    if mask.dtype != torch.bool or mask.shape != layer.weight.shape:
        raise ValueError(
            f"pattern: expected a bool mask of {list(layer.weight.shape)} for {layer.name!r}, got "
            f"{mask.dtype} of {list(mask.shape)}"
        )
    if not 1 <= int(mask.sum()) <= count:
        raise ValueError(
            f"pattern: expected 1 to {count} kept weights for {layer.name!r}, got {int(mask.sum())}"
        )
    return mask


def _allocated(
    scores: Sequence[Tensor], alive: Sequence[int], total: int, allocate: Allocation
) -> list[int]:
    weights = sum(s.numel() for s in scores)
    counts = list(allocate(scores, total / weights))
    if (
        len(counts) != len(alive)
        or sum(counts) != total
        or any(not 1 <= count <= most for count, most in zip(counts, alive, strict=True))
    ):
        raise ValueError(
            f"allocate: expected {total} weights in all, from 1 up to {list(alive)} a layer, got "
            f"{counts}"
        )
    return counts


def _check_scores(name: str, layer: Layer, scores: Tensor) -> None:
    if scores.shape != layer.weight.shape:
        raise ValueError(
            f"{name}: expected {list(layer.weight.shape)} for {layer.name!r}, got "
            f"{list(scores.shape)}"
        )
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(f"{name}: expected finite scores for {layer.name!r}, got NaN or Inf")


def _check_none_revived(layer: Layer, mask: Tensor, present: Tensor) -> None:
    revived = int((mask & ~present.to(mask.device)).sum())
    if revived:
        raise ValueError(
            f"pattern: expected none revived for {layer.name!r}, got {revived} kept weights that "
            "were pruned"
        )


def _highest(scores: Tensor, count: int) -> Tensor:
    """Bool mask of the `count` highest; among equals the lowest row-major index comes first."""
    order = torch.argsort(scores.flatten(), descending=True, stable=True)
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[order[:count]] = True
    return mask.view(scores.shape)


def _ranks(values: Tensor) -> Tensor:
    """Numbers from 0 (lowest) to n - 1, ties by row-major index; exact in float64."""
    order = torch.argsort(values.flatten(), descending=True, stable=True)
    ranks = torch.empty(values.numel(), dtype=torch.float64, device=values.device)
    count = values.numel()
    ranks[order] = torch.arange(count - 1, -1, -1, dtype=torch.float64, device=values.device)
    return ranks.view(values.shape)
