"""Allocations: how a budget of kept weights is split over the layers.

Every allocation is a function `(scores, density) -> kept counts`. `scores` holds one tensor per
layer, shaped like its weight, higher = keep; a weight that is pruned already has score `-inf` and
cannot be kept again. Allocations by shape look at nothing else; `global_` compares the scores too.

The counts of all layers add up to exactly `round(density * weights)`, and every layer keeps at
least one weight. Remainders go to the layers with the largest fraction, ties to the first layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from sparseagent.prune.checks import require_fraction


class Allocation(Protocol):
    """Splits the budget over layers."""

    def __call__(self, scores: Sequence[Tensor], density: float, /) -> list[int]:
        """Kept weights per layer, adding up to `budget(weights, density)`.

        Args:
            scores: Per layer `[out, in]`, higher = keep, `-inf` = pruned for good.
            density: Fraction of all weights to keep, in (0, 1].
        """
        ...


def budget(weights: int, density: float) -> int:
    """How many of `weights` weights a density in [0, 1] keeps."""
    return round(density * weights)


def uniform(scores: Sequence[Tensor], density: float, /) -> list[int]:
    """The same density in every layer.

    It starves small layers: at 0.98 it breaks agents that `erk` keeps alive (Graesser et al.,
    2022, CartPole and MountainCar).

    Args:
        scores: Per layer `[out, in]`, `-inf` = pruned for good.
        density: Fraction of all weights to keep, in (0, 1].

    Returns:
        Kept weights per layer.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: The density is out of range, leaves less than one weight a layer, or asks for
            weights that are pruned already.
    """
    alive, total = _alive_and_total(scores, density)
    return _split([float(s.numel()) for s in scores], alive, total)


def erk(scores: Sequence[Tensor], density: float, /) -> list[int]:
    """Density of a layer in proportion to (in + out) / (in * out): small layers stay denser.

    Layers that would exceed density 1 are kept whole, and the others share what is left, until
    no layer exceeds it.

    Source: Erdős-Rényi of Mocanu et al., 2018; Erdős-Rényi kernel of Evci et al., "Rigging the
    Lottery", 2020.

    Args:
        scores: Per layer `[out, in]`, `-inf` = pruned for good.
        density: Fraction of all weights to keep, in (0, 1].

    Returns:
        Kept weights per layer.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: As in `uniform`.
    """
    alive, total = _alive_and_total(scores, density)
    return _by_fans(scores, alive, total)


def global_(scores: Sequence[Tensor], density: float, /, *, floor: float = 0.5) -> list[int]:
    """One threshold over the scores of all layers, with a floor under each layer.

    Without a floor the layers with small weights are emptied first. A policy's output layer is
    initialised small, so one shot at sparsity 0.9 would leave a policy that ignores its input.

    Args:
        scores: Per layer `[out, in]`, comparable between layers, `-inf` = pruned for good.
        density: Fraction of all weights to keep, in (0, 1].
        floor: Share of its `erk` count that every layer keeps whatever its scores, in [0, 1]; that
            of the whole layers, so that it does not fall with what is pruned on the way. 0 leaves
            one weight a layer, 1 gives `erk`. Set it with `functools.partial(global_, floor=0.2)`.

    Returns:
        Kept weights per layer.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: As in `uniform`, or `floor` is out of range.
    """
    require_fraction("floor", floor)
    alive, total = _alive_and_total(scores, density)
    fair = _by_fans(scores, [s.numel() for s in scores], total)
    least = [min(max(1, int(floor * n)), most) for n, most in zip(fair, alive, strict=True)]
    return _highest(scores, least, total)


def lamp(scores: Sequence[Tensor], density: float, /) -> list[int]:
    """One threshold over the layers for scores that say what a layer loses with a weight.

    The LAMP score of a weight is s^2 over the sum of t^2 of all weights of its layer that score as
    high or higher, itself included. With magnitudes that is the share of the layer's remaining
    norm that goes with the weight, so layers with small weights are not emptied first, and no
    floor is needed: the highest weight of every layer has the LAMP score 1.

    Source: Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021.

    Args:
        scores: Per layer `[out, in]`, at least 0 and proportional to a magnitude, `-inf` = pruned
            for good.
        density: Fraction of all weights to keep, in (0, 1].

    Returns:
        Kept weights per layer.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: As in `uniform`, or a score is below 0.
    """
    _, total = _alive_and_total(scores, density)
    adapted = []
    for index, layer_scores in enumerate(scores):
        flat = layer_scores.detach().flatten().to("cpu", torch.float64)
        alive = flat > -torch.inf
        if bool((flat[alive] < 0).any()):
            raise ValueError(f"scores: expected at least 0 for lamp, got less in layer {index}")
        order = torch.argsort(flat, descending=True, stable=True)
        squares = flat[order].masked_fill(~alive[order], 0.0).square()
        # Where everything up to a weight is 0, it is as dispensable as one can be.
        shares = squares / torch.cumsum(squares, dim=0).clamp(min=torch.finfo(torch.float64).tiny)
        values = torch.empty_like(flat)
        values[order] = shares
        adapted.append(values.masked_fill(~alive, -torch.inf))
    return _highest(adapted, [1] * len(scores), total)


def _highest(scores: Sequence[Tensor], least: Sequence[int], total: int) -> list[int]:
    """Counts of the `total` highest scores of all layers, after the `least` highest of each."""
    ranked = []
    for layer_scores, reserved in zip(scores, least, strict=True):
        flat = layer_scores.detach().flatten().to("cpu", torch.float64)
        order = torch.argsort(flat, descending=True, stable=True)
        ranked.append(flat.index_fill(0, order[:reserved], torch.inf))
    chosen = torch.argsort(torch.cat(ranked), descending=True, stable=True)[:total]
    ends = torch.cumsum(torch.tensor([s.numel() for s in scores]), dim=0)
    layer_of = torch.bucketize(chosen, ends, right=True)
    return [int(n) for n in torch.bincount(layer_of, minlength=len(scores))]


def _alive_and_total(scores: Sequence[Tensor], density: float) -> tuple[list[int], int]:
    """Check the arguments; per layer the weights that may be kept, and the budget for all."""
    if not isinstance(scores, Sequence) or not all(isinstance(s, Tensor) for s in scores):
        raise TypeError(
            f"scores: expected a sequence of one tensor per layer, got {type(scores).__name__}"
        )
    if not scores:
        raise ValueError("scores: expected at least one layer, got none")
    require_fraction("density", density)
    alive = [int((s > -torch.inf).sum()) for s in scores]
    if min(alive) < 1:
        raise ValueError(
            "scores: expected a score above -inf in every layer, got none in layer "
            f"{alive.index(min(alive))}"
        )
    weights = sum(s.numel() for s in scores)
    total = budget(weights, density)
    if not len(scores) <= total <= sum(alive):
        raise ValueError(
            f"density: expected to keep {len(scores)} (one a layer) to {sum(alive)} (those not "
            f"pruned yet) of {weights} weights, got {density}, which keeps {total}"
        )
    return alive, total


def _by_fans(scores: Sequence[Tensor], most: Sequence[int], total: int) -> list[int]:
    """The counts of `erk` for layers that can keep `most` weights each."""
    return _split([float(sum(s.shape)) for s in scores], most, total)


def _split(proportions: Sequence[float], alive: Sequence[int], total: int) -> list[int]:
    """Whole counts near to `proportions`, within [1, alive], adding up to `total`."""
    shares = _cap(proportions, alive, total)
    counts = [min(max(math.floor(s), 1), a) for s, a in zip(shares, alive, strict=True)]
    layers = range(len(counts))
    while (missing := total - sum(counts)) > 0:
        room = [i for i in layers if counts[i] < alive[i]]
        counts[max(room, key=lambda i: (shares[i] - counts[i], -i))] += 1
    while missing < 0:
        spare = [i for i in layers if counts[i] > 1]
        counts[min(spare, key=lambda i: (shares[i] - counts[i], i))] -= 1
        missing += 1
    return counts


def _cap(proportions: Sequence[float], alive: Sequence[int], total: int) -> list[float]:
    """Shares of `total` in the given proportions, none above `alive`."""
    shares = [0.0] * len(alive)
    free = list(range(len(alive)))
    left = float(total)
    while free:
        unit = left / sum(proportions[i] for i in free)
        full = [i for i in free if unit * proportions[i] >= alive[i]]
        if not full:
            for i in free:
                shares[i] = unit * proportions[i]
            break
        for i in full:
            shares[i] = float(alive[i])
            left -= alive[i]
        free = [i for i in free if i not in full]
    return shares
