"""Where a library's agents keep their networks: one file a library, asked by prune and convert.

A new library is one file here, with a subclass of `Agent` and a function `adapt(thing)` that
returns one, or `None` for what is not of this library. It is found by listing this folder, and
must not import its library when it is loaded: an agent exists only where its library was imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import Agent, Network, Roles, Trunk, optimizers_of

__all__ = [
    "Acting",
    "Agent",
    "Network",
    "Roles",
    "Trunk",
    "adapt",
    "module_of",
    "optimizers_of",
]


def adapt(thing: object) -> Agent | None:
    """The agent that a module or a model is, or `None` for a module without a known anatomy."""
    return next((agent for known in _libraries() if (agent := known(thing)) is not None), None)


def module_of(name: str, given: object) -> nn.Module:
    """The network of an argument: itself, or that of a model.

    Args:
        name: The argument, for the message.
        given: A network, or a model of a known library.

    Raises:
        TypeError: It is neither.
    """
    agent = None if isinstance(given, nn.Module) else adapt(given)
    for candidate in (given, getattr(agent, "module", None), getattr(given, "policy", None)):
        if isinstance(candidate, nn.Module):
            return candidate
    raise TypeError(
        f"{name}: expected a torch.nn.Module or a model of a known library, such as one of "
        f"Stable-Baselines3, got {type(given).__name__}"
    )


@cache
def _libraries() -> tuple[Callable[[Any], Agent | None], ...]:
    modules = [
        importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    ]
    return tuple(module.adapt for module in modules if hasattr(module, "adapt"))
