"""Which hidden neurons a network has, and who reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from sparseagent.agents import adapt
from sparseagent.prune.layer import linear_layers

Step: TypeAlias = Callable[[Tensor], Tensor]
Modules: TypeAlias = Mapping[str, nn.Module]

#: Modules that treat each neuron by itself.
_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.Softsign),
    *(nn.Identity, nn.Dropout),
)
#: Functions and methods that do, called with one tensor.
_FUNCTIONS: tuple[Any, ...] = (
    *(torch.relu, torch.tanh, torch.sigmoid, functional.relu, functional.relu6, functional.elu),
    *(functional.leaky_relu, functional.gelu, functional.silu, functional.mish, functional.selu),
    *(functional.tanh, functional.sigmoid, functional.softplus, functional.hardtanh),
)
_METHODS = ("relu", "tanh", "sigmoid")


@dataclass(frozen=True, eq=False)
class Read:
    """A layer that takes neurons in, and what happens to each of them on the way.

    Attributes:
        steps: Functions of single numbers, first to last: the activation.
        layer: The layer; its weight is `[next, out]`.
    """

    steps: tuple[Step, ...]
    layer: nn.Linear

    def activation(self, values: Tensor) -> Tensor:
        """What the layer takes in at evaluation where the neurons give `values`, of any shape."""
        values = values.clone()  # an activation may work in place
        for step in self.steps:
            values = step(values)
        return values


@dataclass(frozen=True, eq=False)
class NeuronLayer:
    """A layer of neurons: the outputs of one `nn.Linear`.

    Attributes:
        name: Name of its weight in the module's `state_dict`.
        layer: The layer; its weight is `[out, in]`.
        reads: The layers that take the neurons in.
        fixed: Why no neuron can be removed; empty where all can.
        critic: Whether it is part of a critic.
        network: Number of the network of a policy that it belongs to.
        group: Layers of the same group have to keep equally many neurons: the twin critics of a
            policy.
        twin: The same neurons of a target network, or `None`.
    """

    name: str
    layer: nn.Linear
    reads: tuple[Read, ...] = ()
    fixed: str = ""
    critic: bool = False
    network: int = 0
    group: str = ""
    twin: NeuronLayer | None = None

    @property
    def copies(self) -> tuple[NeuronLayer, ...]:
        """These neurons and those of the target network."""
        return (self,) if self.twin is None else (self, self.twin)


class _FixedError(Exception):
    """Neurons that cannot be removed; the message says why."""


def find_neurons(module: nn.Module) -> list[NeuronLayer]:
    """Every `nn.Linear` of a module as a layer of neurons, in the order of the computation.

    A plain module is traced symbolically (`torch.fx`), so any `forward` whose control flow does not
    depend on data will do. The networks of a Stable-Baselines3 policy are known; its features
    extractors are left as they are.

    Args:
        module: A network, or a policy of Stable-Baselines3.

    Raises:
        TypeError: The policy is of an unknown kind.
        ValueError: The module cannot be traced.
    """
    names = {layer.module: layer.name for layer in linear_layers(module).values()}
    agent = adapt(module)
    if agent is None:
        return _analyse(module, names)
    found = []
    for number, network in enumerate(agent.networks()):
        layers = _analyse(network.module, names)
        if network.twin is not None:
            twins = _analyse(network.twin, names)
            layers = [_twinned(one, two) for one, two in zip(layers, twins, strict=True)]
        found += [
            replace(layer, critic=network.critic, network=number, group=f"{network.group}{place}")
            for place, layer in enumerate(layers)
        ]
    return found


def removable(hidden: NeuronLayer) -> NeuronLayer:
    """The same neurons, if they can be removed.

    Raises:
        ValueError: They cannot; the message says why.
    """
    if hidden.fixed:
        raise ValueError(
            f"layers: expected neurons that can be removed, got those of {hidden.name!r}: "
            f"{hidden.fixed}"
        )
    return hidden


def with_twin(hidden: list[NeuronLayer], target: nn.Module) -> list[NeuronLayer]:
    """The neurons of a plain module, together with those of its target network.

    Raises:
        ValueError: The target network has other layers.
    """
    copies = {twin.name: twin for twin in find_neurons(target)}
    for one in hidden:
        two = copies.get(one.name)
        if two is None or two.layer.weight.shape != one.layer.weight.shape:
            got = "none" if two is None else f"shape {list(two.layer.weight.shape)}"
            raise ValueError(
                f"target: expected a copy of the module, with {one.name!r} of shape "
                f"{list(one.layer.weight.shape)}, got {got}"
            )
    return [_twinned(one, copies[one.name]) for one in hidden]


def _twinned(one: NeuronLayer, two: NeuronLayer) -> NeuronLayer:
    return replace(one, fixed=one.fixed or two.fixed, twin=two)


def _analyse(module: nn.Module, names: Mapping[nn.Linear, str]) -> list[NeuronLayer]:
    if isinstance(module, nn.Linear):
        return [
            NeuronLayer(names[module], module, (), "the module returns them", group=names[module])
        ]
    modules = dict(module.named_modules())
    calls: dict[nn.Linear, list[fx.Node]] = {}
    for node in trace(module).nodes:
        if node.op == "call_module" and isinstance(linear := modules[node.target], nn.Linear):
            calls.setdefault(linear, []).append(node)
    owners = Counter(
        id(weight) for child in modules.values() for weight in child._parameters.values()
    )

    def is_shared(linear: nn.Linear) -> bool:
        weight = linear._parameters.get("weight")
        return len(calls[linear]) > 1 or (weight is not None and owners[id(weight)] > 1)

    found = []
    for linear, nodes in calls.items():
        reads: tuple[Read, ...] = ()
        fixed = ""
        try:
            if is_shared(linear):
                raise _FixedError("the layer is used more than once")
            reads = tuple(_reads(nodes[0], (), modules))
            if any(is_shared(read.layer) for read in reads):
                raise _FixedError("a layer that is used more than once reads them")
        except _FixedError as error:
            reads, fixed = (), str(error)
        if linear in names:  # it is not where an earlier layer has the same weight
            found.append(NeuronLayer(names[linear], linear, reads, fixed, group=names[linear]))
    return found


def trace(module: nn.Module) -> fx.Graph:
    """What a module computes, as a graph of calls.

    Raises:
        ValueError: The module cannot be traced.
    """
    try:
        graph: fx.Graph = fx.symbolic_trace(module).graph
    except Exception as error:
        raise ValueError(
            f"module: expected a forward that torch.fx can trace, got {type(module).__name__}, "
            f"which it cannot ({error}); pass a part of it, such as a Sequential"
        ) from error
    return graph


def _reads(node: fx.Node, steps: tuple[Step, ...], modules: Modules) -> Iterator[Read]:
    """Follow a value to the layers that take it in."""
    for user in node.users:
        if user.op == "output":
            raise _FixedError("the module returns them")
        called = modules[str(user.target)] if user.op == "call_module" else None
        if isinstance(called, nn.Linear):
            yield Read(steps, called)
            continue
        step = _step(user, node, called)
        if step is None:
            raise _FixedError(_why(user, called))
        yield from _reads(user, (*steps, step), modules)


def _step(user: fx.Node, node: fx.Node, called: nn.Module | None) -> Step | None:
    """The function of single numbers that a node computes, `None` where it is no such function."""
    if called is not None:
        if not isinstance(called, _ELEMENTWISE):
            return None
        return nn.Identity() if isinstance(called, nn.Dropout) else called
    if user.args[:1] != (node,) or any(isinstance(a, fx.Node) for a in user.args[1:]):
        return None
    rest, options = user.args[1:], user.kwargs
    if user.op == "call_function" and user.target in _FUNCTIONS:
        function: Any = user.target
        return lambda values: function(values, *rest, **options)
    if user.op == "call_method" and user.target in _METHODS:
        method = str(user.target)
        return lambda values: getattr(values, method)(*rest, **options)
    return None


def _why(user: fx.Node, called: nn.Module | None) -> str:
    if called is not None:
        return f"a {type(called).__name__} reads them, which mixes or counts neurons"
    name = getattr(user.target, "__name__", str(user.target))
    if name in ("add", "iadd", "add_", "sub"):
        return "a residual adds them to other values"
    return f"{name}() reads them, which may mix or count neurons"
