"""Which weights and neurons a penalty looks at."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import nn

from sparseagent.prune.layer import Layer, Selection, linear_layers, select
from sparseagent.prune.networks import is_policy, policy_networks
from sparseagent.prune.neuron_layers import NeuronLayer, find_neurons

# Tracing a module takes milliseconds, and a penalty asks at every update.
_found: WeakKeyDictionary[nn.Module, tuple[list[nn.Linear], list[NeuronLayer]]]
_found = WeakKeyDictionary()


def penalised_weights(module: nn.Module, layers: Selection | None) -> list[Layer]:
    """The `nn.Linear` layers of a module, or of the acting network of a policy.

    Args:
        module: A network, or a policy of Stable-Baselines3.
        layers: Which of them; see `layer.select`.
    """
    pool = list(linear_layers(module).values())
    if is_policy(module):
        acting = set(policy_networks(module)[0].module.modules())
        pool = [layer for layer in pool if layer.module in acting]
    return select(pool, layers, [pool])


def penalised_neurons(module: nn.Module, layers: Selection | None) -> list[NeuronLayer]:
    """The hidden layers of neurons of a module, or of the acting network of a policy.

    Args:
        module: A network, or a policy of Stable-Baselines3.
        layers: Which of them; see `layer.select`.

    Raises:
        ValueError: The module cannot be traced, or has no hidden neurons.
    """
    linears = [child for child in module.modules() if isinstance(child, nn.Linear)]
    known = _found.get(module)
    if known is None or known[0] != linears:
        known = _found[module] = (linears, find_neurons(module))
    hidden = {one.name: one for one in known[1] if one.reads and not one.critic}
    if not hidden:
        raise ValueError(
            f"module: expected hidden neurons, got {type(module).__name__} without any"
        )
    pool = [Layer(name, one.layer) for name, one in hidden.items()]
    return [hidden[layer.name] for layer in select(pool, layers, [pool])]
