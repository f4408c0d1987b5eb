"""Remembers what prunes a module, and what a model was pruned to: zeros that were lost are named.

Pruning notes it here and conversion asks, for neither knows the other.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

#: The attribute of a model, and so of its zip, that holds how many entries each weight kept.
KEPT = "sparseagent_kept"
_MOST_WEIGHTS = 10_000


class Pruner(Protocol):
    """What keeps masks for a module."""

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """Bool masks, True = kept, by the name of the weight."""

    @property
    def started(self) -> bool:
        """Whether the masks have been looked at since it was made."""


_pruners: weakref.WeakKeyDictionary[nn.Module, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def note_pruner(module: nn.Module, pruner: Pruner) -> None:
    """Remember what prunes a module; the latest counts."""
    _pruners[module] = weakref.ref(pruner)


def note_kept(model: Any, masks: Mapping[str, Tensor]) -> None:
    """Write down in a model what its weights have kept, so that its zip knows it."""
    setattr(model, KEPT, {name: int(mask.sum()) for name, mask in masks.items()})


def lost_zeros(module: nn.Module, kept: Any) -> str:
    """What became of the zeros of a module, where it is not what pruning left; else empty.

    Args:
        module: With the weights as they are now.
        kept: What `note_kept` wrote, from a model or from a file; anything else is passed over.
    """
    weights = dict(module.named_parameters())
    found = _pruners.get(module)
    pruner: Pruner | None = None if found is None else found()
    if pruner is not None:
        if not pruner.started:
            return (
                "a Sparsifier was made for it but never pruned anything: pass "
                "callback=sparsifier.callback() to learn, or attach it to the optimizer"
            )
        masks = {name: mask for name, mask in pruner.masks.items() if name in weights}
        wrong = sum(int((weights[name] * ~mask).count_nonzero()) for name, mask in masks.items())
        if wrong:
            return (
                f"{wrong:,} weights that its Sparsifier has pruned are not zero any more: they "
                "were loaded or trained without it; call sparsifier.apply()"
            )
        return ""
    return _regrown(weights, kept)


def _regrown(weights: Mapping[str, Tensor], kept: Any) -> str:
    if not isinstance(kept, Mapping) or len(kept) > _MOST_WEIGHTS:
        return ""
    before = {name: count for name, count in kept.items() if name in weights}
    if not all(type(count) is int for count in before.values()):
        return ""
    now = {name: int(weights[name].count_nonzero()) for name in before}
    if not any(now[name] > count for name, count in before.items()):
        return ""
    size = sum(weights[name].numel() for name in before)
    then, left = (1 - sum(counts.values()) / max(1, size) for counts in (before, now))
    return (
        f"it was pruned to a sparsity of {then:.3f}, of which {left:.3f} is left: it was trained "
        "on without its masks; to keep them, make a Sparsifier, then "
        "sparsifier.take_over(prune.found_masks(model.policy)) before learn"
    )
