"""Which weights and neurons a penalty looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from sparseagent.agents import adapt
from sparseagent.prune.chains import find_chains
from sparseagent.prune.layer import Layer, Selection, has_pick, linear_layers, select
from sparseagent.prune.neuron_layers import NeuronLayer, find_neurons

Found = TypeVar("Found")
Known: TypeAlias = WeakKeyDictionary[nn.Module, tuple[list[nn.Linear], list[Found]]]

# Tracing a module takes milliseconds, and a penalty asks at every update.
_neurons: Known[NeuronLayer] = WeakKeyDictionary()
_chains: Known[list[Layer]] = WeakKeyDictionary()


def penalised_weights(module: nn.Module, layers: Selection | None) -> list[Layer]:
    """The `nn.Linear` layers of a module, or of the acting network of a policy.

    Args:
        module: A network, or a policy of Stable-Baselines3.
        layers: Which of them; see `layer.select`.

    Raises:
        ValueError: There are none, or none is chosen.
    """
    pool = list(linear_layers(module).values())
    agent = adapt(module)
    if agent is not None:
        acting = set(agent.networks()[0].module.modules())
        pool = [layer for layer in pool if layer.module in acting]
    if not pool:
        raise ValueError(
            f"module: expected at least one nn.Linear, got {type(module).__name__} without any"
        )
    return select(pool, layers, _chains_for(module, layers))


def penalised_neurons(module: nn.Module, layers: Selection | None) -> list[NeuronLayer]:
    """The hidden layers of neurons of a module, or of the acting network of a policy.

    Args:
        module: A network, or a policy of Stable-Baselines3.
        layers: Which of them; see `layer.select`.

    Raises:
        ValueError: The module cannot be traced, has no hidden neurons, or none are chosen.
    """
    found = _remembered(_neurons, module, find_neurons)
    hidden = {one.name: one for one in found if one.reads and not one.critic}
    if not hidden:
        raise ValueError(
            f"module: expected hidden neurons, got {type(module).__name__} without any"
        )
    pool = [Layer(name, one.layer) for name, one in hidden.items()]
    chosen = select(pool, layers, _chains_for(module, layers))
    return [hidden[layer.name] for layer in chosen]


def _chains_for(module: nn.Module, layers: Selection | None) -> list[list[Layer]]:
    """The chains of the module where a choice of layers asks for them."""

    def find(module: nn.Module) -> list[list[Layer]]:
        return list(find_chains(module, linear_layers(module).values()))

    return _remembered(_chains, module, find) if has_pick(layers) else []


def _remembered(
    known: Known[Found], module: nn.Module, find: Callable[[nn.Module], list[Found]]
) -> list[Found]:
    linears = [child for child in module.modules() if isinstance(child, nn.Linear)]
    if module not in known or known[module][0] != linears:
        known[module] = (linears, find(module))
    return known[module][1]
