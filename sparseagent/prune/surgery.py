"""Cutting rows and columns out of layers, with all that an optimizer remembers of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparseagent.prune.masking import is_moment


def as_optimizers(optimizers: Optimizer | Iterable[Optimizer]) -> list[Optimizer]:
    """A list of them.

    Raises:
        TypeError: One is no optimizer.
    """
    found = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    for optimizer in found:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizers: expected torch.optim.Optimizer, got {type(optimizer).__name__}"
            )
    return found


def cut_outputs(layer: nn.Linear, kept: Tensor, optimizers: Sequence[Optimizer]) -> None:
    """Keep the outputs `kept` `[n]` (indices) of a layer: rows of the weight, and the bias."""
    _cut(layer, "weight", 0, kept, optimizers)
    if layer.bias is not None:
        _cut(layer, "bias", 0, kept, optimizers)
    layer.out_features = kept.numel()


def cut_inputs(layer: nn.Linear, kept: Tensor, optimizers: Sequence[Optimizer]) -> None:
    """Keep the inputs `kept` `[n]` (indices) of a layer: columns of the weight."""
    _cut(layer, "weight", 1, kept, optimizers)
    layer.in_features = kept.numel()


def _cut(
    layer: nn.Linear, name: str, axis: int, kept: Tensor, optimizers: Sequence[Optimizer]
) -> None:
    old = getattr(layer, name)
    index = kept.to(old.device)
    new = nn.Parameter(old.detach().index_select(axis, index), requires_grad=old.requires_grad)
    if old.grad is not None:
        new.grad = old.grad.index_select(axis, index)
    setattr(layer, name, new)
    for optimizer in optimizers:
        replace_parameter(optimizer, old, new, lambda value: value.index_select(axis, index))


def replace_parameter(optimizer: Optimizer, old: Tensor, new: Tensor | None, cut: Any) -> None:
    """Put a parameter into the place of another, or of none, with its moments.

    Args:
        optimizer: The optimizer; one that does not hold `old` is left alone.
        old: The parameter that goes.
        new: The one that comes, or `None`.
        cut: Makes the moments of `new` of those of `old`.
    """
    for group in optimizer.param_groups:
        group["params"] = [
            new if parameter is old else parameter
            for parameter in group["params"]
            if not (parameter is old and new is None)
        ]
    if old not in optimizer.state:
        return
    state = optimizer.state.pop(old)
    if new is not None:
        with torch.no_grad():
            optimizer.state[new] = {
                key: cut(value) if is_moment(value, old) else value for key, value in state.items()
            }
