"""The layers of each network in the order in which they run: what is hidden, and what is output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import fx, nn

from sparseagent.agents import adapt
from sparseagent.prune.layer import Layer, weight_key
from sparseagent.prune.neuron_layers import trace


def find_chains(module: nn.Module, layers: Iterable[Layer]) -> Iterator[list[Layer]]:
    """For each output layer of a module the layers it depends on, as they run, and itself last.

    An output layer is one that no other layer depends on; two heads of a network are two chains,
    which share what both depend on. A module whose `forward` cannot be traced, or does not call
    each of its layers by itself, is taken for one chain in the order in which the layers were
    registered.

    Nothing is traced before the first chain is asked for.

    Args:
        module: A network, or a policy of Stable-Baselines3, whose networks are known.
        layers: Those of the module; layers that are not among them are passed over.
    """
    named = {weight_key(layer.module): layer for layer in layers}
    for network in _networks(module):
        own = [child for child in network.modules() if isinstance(child, nn.Linear)]
        # In the order of the module, each weight once.
        known = dict.fromkeys(named[key] for key in map(weight_key, own) if key in named)
        yield from _traced(network, named, set(known)) or ([list(known)] if known else [])


def _networks(module: nn.Module) -> list[nn.Module]:
    agent = adapt(module)
    return [module] if agent is None else [network.module for network in agent.networks()]


def _traced(network: nn.Module, named: dict[int, Layer], expected: set[Layer]) -> list[list[Layer]]:
    """The chains of one network, none where they cannot be told."""
    try:
        graph = trace(network)
    except ValueError:
        return []
    modules = dict(network.named_modules())
    calls: dict[fx.Node, Layer] = {}
    before: dict[fx.Node, set[fx.Node]] = {}  # the calls that a node depends on
    for node in graph.nodes:
        inputs = node.all_input_nodes
        direct = {one for one in inputs if one in calls}
        before[node] = direct.union(*(before[one] for one in inputs))
        called = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(called, nn.Linear) and weight_key(called) in named:
            calls[node] = named[weight_key(called)]
    if set(calls.values()) != expected:
        return []
    inner = set[fx.Node]().union(*(before[call] for call in calls))
    chains = []
    for last, output in calls.items():
        if last not in inner:
            needed = [calls[call] for call in calls if call in before[last]]
            # A layer may run more than once.
            chains.append([*dict.fromkeys(one for one in needed if one is not output), output])
    return chains
