"""Pruning a network that is trained already, or trained in a loop of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sparseagent.prune.allocation import Allocation
from sparseagent.prune.checks import require_sparsity
from sparseagent.prune.foreign_masks import found_masks
from sparseagent.prune.layer import Selection
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.pattern.unstructured import Unstructured
from sparseagent.prune.schedule import OneShot
from sparseagent.prune.score.magnitude import Magnitude
from sparseagent.prune.score.protocol import Score
from sparseagent.prune.sparsifier import Sparsifier

_MAGNITUDE, _UNSTRUCTURED = Magnitude(), Unstructured()


class Pruned(NamedTuple):
    """What `prune_model` returns.

    Attributes:
        model: The pruned copy, a module of the same class; its `state_dict` has the same keys and
            shapes, so it loads into an unpruned one.
        sparsifier: Holds its masks. `sparsifier.attach(optimizer)` keeps the zeros while training
            goes on.
    """

    model: nn.Module
    sparsifier: Sparsifier


def prune_model(
    model: nn.Module,
    sparsity: float,
    *,
    score: Score = _MAGNITUDE,
    pattern: Pattern = _UNSTRUCTURED,
    allocate: Allocation | None = None,
    layers: Selection | None = None,
) -> Pruned:
    """A pruned copy of a network, all at once; for any PyTorch loop.

        small, sparsifier = prune.prune_model(model, 0.9)
        optimizer = torch.optim.Adam(small.parameters())
        sparsifier.attach(optimizer)                        # fine-tuning keeps the zeros
        ...
        torch.save(small.state_dict(), "small.pt")          # loads into the original class

    What is pruned already in these layers, by `torch.nn.utils.prune` or as zeros, stays pruned and
    counts towards the sparsity.
    To prune gradually while a network trains, use a `Sparsifier` from the start.

    Args:
        model: The network; it is not changed. Gradients are not copied, so a score that looks at
            them needs a `Sparsifier`.
        sparsity: Fraction of the weights of the pruned layers that is zero, in [0, 1).
        score: Which weights matter.
        pattern: Which shapes of zeros are legal.
        allocate: How the budget is split over the layers, see `Sparsifier`.
        layers: Which layers, see `Sparsifier`.

    Returns:
        The copy and its sparsifier, whose masks are final.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range or does not fit the model.
    """
    require_sparsity("sparsity", sparsity)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    with _WithoutHistory():
        pruned = copy.deepcopy(model)
    masks = found_masks(pruned)
    sparsifier = Sparsifier(
        pruned,
        score=score,
        schedule=OneShot(to=sparsity),
        pattern=pattern,
        allocate=allocate,
        layers=layers,
    )
    known = sparsifier.masks
    sparsifier.take_over({name: mask for name, mask in masks.items() if name in known})
    sparsifier.step(1.0)
    sparsifier.freeze()
    return Pruned(pruned, sparsifier)


class _WithoutHistory(TorchFunctionMode):
    """Lets `copy.deepcopy` copy the values of tensors with a history, which PyTorch refuses.

    A forward pass leaves some behind: the masked weight of `torch.nn.utils.prune`, or the last
    distribution of actions in a policy.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            return args[0].detach().clone()
        return func(*args, **(kwargs or {}))
