"""Shrinking a network that a sparsifier has pruned."""

from __future__ import annotations

from typing import Any

from torch import nn

from sparseagent.prune.removal import Optimizers, Removed, remove_dead_neurons
from sparseagent.prune.sparsifier import Sparsifier
from sparseagent.prune.surgery import as_optimizers


def shrink(
    sparsifier: Sparsifier,
    *,
    model: Any = None,
    optimizers: Optimizers = (),
    target: nn.Module | None = None,
) -> Removed:
    """Remove the neurons that a sparsifier's masks have left without effect.

    The layers get smaller, the outputs stay the same up to rounding, and training goes on: the
    masks are cut as the weights are, and frozen. To prune what is left further, make a new
    Sparsifier and call `take_over(found_masks(module))` on it, without which it starts dense and
    what the old masks held at zero comes back. Its sparsity counts the weights of the smaller
    layers.

    Args:
        sparsifier: At the end of its schedule, or frozen.
        model: The Stable-Baselines3 model whose policy it prunes, see `remove_neurons`.
        optimizers: Those of a plain module that are not attached to the sparsifier.
        target: Target network of a plain module.

    Returns:
        Which neurons are left.

    Raises:
        RuntimeError: Pruning is not over.
        ValueError: `model` has another policy, or the module cannot be traced.
    """
    if not (sparsifier.finished or sparsifier.frozen):
        raise RuntimeError(
            f"sparsifier: expected one at its final sparsity {sparsifier.final_sparsity}, got "
            f"{sparsifier.sparsity():.4f}; call freeze() to keep these masks"
        )
    if model is not None and getattr(model, "policy", None) is not sparsifier.module:
        raise ValueError("model: expected the one whose policy the sparsifier prunes, got another")
    removed = remove_dead_neurons(
        sparsifier.module if model is None else model,
        critics=True,
        optimizers=[*sparsifier.optimizers, *as_optimizers(optimizers)],
        target=target,
    )
    masks = {name: removed.cut(name, mask) for name, mask in sparsifier.masks.items()}
    sparsifier.freeze()
    sparsifier.take_over(masks)
    return removed
