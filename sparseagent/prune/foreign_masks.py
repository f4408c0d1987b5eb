"""Masks that others made: `torch.nn.utils.prune`, or zeros in a checkpoint."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from sparseagent.agents import adapt
from sparseagent.prune.layer import below, linear_layers


def found_masks(module: nn.Module) -> dict[str, Tensor]:
    """Find the weights that are pruned already, for `Sparsifier.take_over`.

    A weight pruned by `torch.nn.utils.prune` becomes a plain one again, with its zeros; it is the
    same `Parameter` as before, so an optimizer that holds it goes on. In every other layer a zero
    is a pruned weight.

        masks = prune.found_masks(module)
        sparsifier = prune.Sparsifier(module, score=..., schedule=...)
        sparsifier.take_over(masks)

    Args:
        module: The network; its `nn.Linear` layers are looked at. Those of the target networks of a
            policy of Stable-Baselines3 are left out, as they share the masks of their originals.

    Returns:
        `[out, in]` bool, True = kept, by the name of the weight, for the layers with any zero.

    Raises:
        TypeError: The policy is of an unknown kind.
        ValueError: A bias is pruned: a sparsifier keeps zeros in weights only.
    """
    masks = {}
    agent = adapt(module)
    targets = () if agent is None else agent.roles().targets
    copies = {linear for _, target in targets for linear in below(target).values()}
    for name, layer in linear_layers(module).items():
        for attribute in _pruned_attributes(layer.module):
            if attribute == "bias":
                raise ValueError(
                    f"module: expected pruned weights only, got a pruned bias beside {name!r}; "
                    "call torch.nn.utils.prune.remove(layer, 'bias') to make its zeros free again"
                )
            torch_prune.remove(layer.module, attribute)  # type: ignore[no-untyped-call]
        kept = layer.weight.detach() != 0
        if layer.module not in copies and not bool(kept.all()):
            masks[name] = kept
    return masks


def _pruned_attributes(layer: nn.Linear) -> list[str]:
    """What `torch.nn.utils.prune` has reparametrised, biases first."""
    hooks = layer._forward_pre_hooks.values()
    found = {hook._tensor_name for hook in hooks if isinstance(hook, torch_prune.BasePruningMethod)}
    return sorted(found)
