"""Removal of whole layers, where that is possible."""

from __future__ import annotations

import operator

import torch
from torch import Tensor, fx, nn
from torch.optim import Optimizer

from sparseagent.agents import adapt
from sparseagent.prune.layer import Layer, require_plain
from sparseagent.prune.neuron_layers import NeuronLayer, find_neurons, trace
from sparseagent.prune.removal import Optimizers
from sparseagent.prune.surgery import as_optimizers, replace_parameter


def remove_layer(module: nn.Module, name: str, *, optimizers: Optimizers = ()) -> None:
    """Remove a layer or a residual block from a network, in place; `nn.Identity` takes its place.

    Possible are:

    - a module that computes x + f(x): the way around it stays, and what f added is lost;
    - an `nn.Linear` that is the identity: a square weight of ones on the diagonal and zeros
      elsewhere, and no bias other than zero. The outputs stay the same;
    - an `nn.Linear` whose outputs the next `nn.Linear` reads without an activation between: the
      two become one. The outputs stay the same, up to rounding.

    Args:
        module: A network. A policy of Stable-Baselines3 is refused: it builds its layers, with an
            activation after each, from its `net_arch`.
        name: Path of the layer or block in it, such as `"blocks.1"`.
        optimizers: Those that update the module.

    Raises:
        TypeError: `optimizers` holds something else.
        ValueError: There is no such layer, or it cannot be removed; the message says why.
    """
    agent = adapt(module)
    if agent is not None and agent.library == "stable-baselines3":
        raise ValueError(
            "module: expected a plain module, got a policy, whose layers are built from net_arch; "
            "train one with fewer layers instead"
        )
    try:
        child = module.get_submodule(name)
    except AttributeError:
        child = module
    if child is module:
        paths = ", ".join(path for path, _ in module.named_modules() if path)
        raise ValueError(f"name: expected one of {paths}, got {name!r}")
    held = as_optimizers(optimizers)
    if isinstance(child, nn.Linear):
        gone = _removable_linear(module, name, child, held)
    else:
        _require_residual(name, child)
        gone = list(child.parameters())
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, nn.Identity())
    left = {id(parameter) for parameter in module.parameters()}
    for parameter in gone:
        if id(parameter) not in left:
            for optimizer in held:
                replace_parameter(optimizer, parameter, None, None)


def _removable_linear(
    module: nn.Module, name: str, layer: nn.Linear, optimizers: list[Optimizer]
) -> list[Tensor]:
    """The parameters that go with a layer; merges it into the next where it is no identity."""
    require_plain(Layer(f"{name}.weight", layer))
    bias = layer._parameters["bias"]
    unbiased = bias is None or not bool(bias.any())
    if unbiased and torch.equal(layer.weight, torch.eye(layer.in_features).to(layer.weight)):
        return list(layer.parameters())
    neurons = next((i for i in find_neurons(module) if i.layer is layer), None)
    why = _why_not(neurons, bias)
    if why or neurons is None:
        raise ValueError(
            f"name: expected a layer that can be removed, got {name!r}: it is no identity, and "
            f"it cannot be joined with the next one: {why}"
        )
    with torch.no_grad():
        for read in neurons.reads:
            _merge(layer, read.layer, optimizers)
    return list(layer.parameters())


def _why_not(neurons: NeuronLayer | None, bias: Tensor | None) -> str:
    """Why a layer and the one that reads it are no single linear map; empty where they are."""
    if neurons is None:
        return "another layer shares its weight"
    if neurons.fixed:
        return neurons.fixed
    for read in neurons.reads:
        if any(not isinstance(step, nn.Identity) for step in read.steps):
            return "an activation lies between"
        if read.layer._parameters["bias"] is None and bias is not None and bool(bias.any()):
            return "the next one has no bias to take in its own"
    return ""


def _merge(first: nn.Linear, second: nn.Linear, optimizers: list[Optimizer]) -> None:
    """Make the second layer compute what both did; its weight's moments start again at zero."""
    old, bias = second.weight, second._parameters["bias"]
    product = (old.double() @ first.weight.double()).to(old.dtype)
    if bias is not None and first._parameters["bias"] is not None:
        bias.copy_(bias.double() + old.double() @ first.bias.double())
    second.weight = nn.Parameter(product, requires_grad=old.requires_grad)
    second.in_features = first.in_features
    for optimizer in optimizers:
        replace_parameter(optimizer, old, second.weight, lambda _: torch.zeros_like(product))


def _require_residual(name: str, block: nn.Module) -> None:
    """Refuse a block that is not x + f(x)."""
    nodes = list(trace(block).nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    result = next(node for node in nodes if node.op == "output").args[0]
    added = _summands(result)
    if len(inputs) == 1 and added.count(inputs[0]) == 1:
        return
    raise ValueError(
        f"name: expected a module that computes x + f(x), got {name!r} "
        f"({type(block).__name__}), whose result is not its input plus something"
    )


def _summands(node: object) -> list[object]:
    """The two values that a node adds, empty for another node."""
    if not isinstance(node, fx.Node) or len(node.args) != 2 or node.kwargs:
        return []
    function = node.op == "call_function" and node.target in (operator.add, torch.add)
    method = node.op == "call_method" and node.target == "add"
    return list(node.args) if function or method else []
