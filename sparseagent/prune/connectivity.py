"""What a mask leaves connected."""

from __future__ import annotations

from collections.abc import Sequence

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
    reached = [torch.ones(masks[0].shape[1], dtype=torch.bool, device=masks[0].device)]
    for mask in masks:
        reached.append((mask & reached[-1]).any(dim=1))
    useful = torch.ones_like(reached[-1])
    count = 0
    for mask, sources in zip(reversed(masks), reversed(reached[:-1]), strict=True):
        live = mask & sources & useful[:, None]
        count += int(live.sum())
        useful = live.any(dim=0)
    return count


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
