"""What a mask leaves connected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def effective_weights(masks_in_order: Sequence[Tensor]) -> int:
    """Count the kept weights that lie on a path from an input to an output.

    A kept weight of a neuron that no input reaches only adds to a constant, and one of a neuron
    that reaches no output does nothing at all. At high sparsity they are many: the number of
    effective weights, not of kept ones, is the size of the agent.

    Args:
        masks_in_order: Bool masks `[out, in]` of a chain of linear layers, first layer first.

    Returns:
        The number of effective weights.

    Raises:
        TypeError: A mask is not a bool tensor.
        ValueError: There is no mask, or the shapes do not form a chain.
    """
    masks = list(masks_in_order)
    _check_chain(masks)
    sources = [None, *range(len(masks) - 1)]
    return sum(int(layer.sum()) for layer in on_paths(masks, sources))


def on_paths(masks: Sequence[Tensor], sources: Sequence[int | None]) -> list[Tensor]:
    """Which kept weights lie on a path from an input of the network to an output.

    Args:
        masks: Bool masks `[out, in]`, True = kept.
        sources: For each layer the place of the layer whose neurons it reads; `None` for one that
            reads inputs.

    Returns:
        Bool masks of the same shapes.
    """
    return read(fed(masks, sources), sources)


def fed(masks: Sequence[Tensor], sources: Sequence[int | None]) -> list[Tensor]:
    """Those of the kept weights that an input reaches; see `on_paths`."""

    def narrow(live: list[Tensor]) -> None:
        for place, source in enumerate(sources):
            if source is not None:
                live[place] = live[place] & live[source].any(dim=1)

    return _settled(masks, narrow)


def read(masks: Sequence[Tensor], sources: Sequence[int | None]) -> list[Tensor]:
    """Those of the kept weights that reach an output; see `on_paths`."""

    def narrow(live: list[Tensor]) -> None:
        for source in {source for source in sources if source is not None}:
            readers = [live[place].any(dim=0) for place, s in enumerate(sources) if s == source]
            live[source] = live[source] & torch.stack(readers).any(dim=0)[:, None]

    return _settled(masks, narrow)


def _settled(masks: Sequence[Tensor], narrow: Callable[[list[Tensor]], None]) -> list[Tensor]:
    """What is left when `narrow` finds nothing more; layers may stand in any order."""
    live, count = list(masks), -1
    while count != (count := sum(int(layer.sum()) for layer in live)):
        narrow(live)
    return live


def _check_chain(masks: Sequence[Tensor]) -> None:
    if not masks:
        raise ValueError("masks_in_order: expected at least one mask, got none")
    for index, mask in enumerate(masks):
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = str(mask.dtype) if isinstance(mask, Tensor) else type(mask).__name__
            raise TypeError(f"masks_in_order[{index}]: expected a bool tensor, got {got}")
        if mask.dim() != 2:
            raise ValueError(
                f"masks_in_order[{index}]: expected the shape [out, in], got {list(mask.shape)}"
            )
        if index and mask.shape[1] != masks[index - 1].shape[0]:
            raise ValueError(
                f"masks_in_order[{index}]: expected {masks[index - 1].shape[0]} columns, the rows "
                f"of the mask before it, got {mask.shape[1]}"
            )
