"""What runs when an agent acts, and how much of it pruning reaches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from sparseagent.agents import Agent
from sparseagent.prune.layer import below
from sparseagent.unsupported import UnreadyError


class PruningWarning(UserWarning):
    """Pruning that will not give what is expected of it."""


def acting_weights(agent: Agent) -> dict[str, Tensor]:
    """The matrices and kernels that run when an agent acts, by their names in its module."""
    roles = agent.roles()
    taken = {id(p) for module in roles.left_out for p in module.parameters()}
    # What a module of modules owns itself, such as a log_std, is no layer.
    layers = [
        child
        for module in (*roles.acting, *roles.shared)
        for child in module.modules()
        if not any(child.children())
    ]
    acting = {
        id(parameter)
        for layer in layers
        for parameter in layer.parameters(recurse=False)
        if parameter.dim() > 1 and id(parameter) not in taken
    }
    return {name: p for name, p in agent.module.named_parameters() if id(p) in acting}


def zeros_of(weights: Mapping[str, Tensor], kept: Mapping[str, int]) -> tuple[int, int]:
    """(weights kept, weights in all) of an acting network; what has no mask is kept."""
    sizes = {name: weight.numel() for name, weight in weights.items()}
    return sum(kept.get(name, size) for name, size in sizes.items()), sum(sizes.values())


def check_agent(agent: Agent, pruned: Iterable[str] | None) -> None:
    """Warn of an agent that cannot be compiled, or whose acting weights are out of reach.

    Args:
        agent: What is to be pruned.
        pruned: Names of the weights that are, or `None` where the user chose among the layers.

    Raises:
        UnreadyError: Nothing here knows such agents yet.
    """
    from sparseagent.convert import why_not

    try:
        reason = why_not(agent)
    except UnreadyError as error:
        raise UnreadyError(f"module: training it would be for nothing: {error}") from error
    if reason:
        _warn(f"this policy can be pruned, but not be compiled yet: {reason}")
    weights = acting_weights(agent)
    if pruned is None:
        reach = {id(linear._parameters.get("weight")) for linear in below(agent.module).values()}
        beyond = {name: w for name, w in weights.items() if id(w) not in reach}
    else:
        names = set(pruned)
        beyond = {name: weight for name, weight in weights.items() if name not in names}
    if beyond:
        count = sum(weight.numel() for weight in beyond.values())
        total = sum(weight.numel() for weight in weights.values())
        _warn(
            f"{count:,} of the {total:,} weights that run when the agent acts are out of reach and "
            f"stay dense: {_places(agent.module, beyond)}"
        )


def _places(module: nn.Module, names: Iterable[str]) -> str:
    """Layers and their kinds, the first ones."""
    parents = dict.fromkeys(name.rpartition(".")[0] for name in names)
    shown = [f"{path} ({type(module.get_submodule(path)).__name__})" for path in parents]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _warn(text: str) -> None:
    warnings.warn(text, PruningWarning, stacklevel=4)
