"""From a torch network to a SparsePolicy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sparseagent.convert.assemble import assemble, versions
from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.features import Features
from sparseagent.convert.masks import read_masks
from sparseagent.convert.torch_script import script_call
from sparseagent.convert.torch_trace import check_modules, trace
from sparseagent.head import Head, Raw
from sparseagent.ops import Observation
from sparseagent.policy import SparsePolicy
from sparseagent.policyfile import Observations
from sparseagent.unsupported import UnsupportedError

Steps = Mapping[str, Observation]


def from_torch(
    module: Any,
    *,
    observation: Observation | Mapping[str, Observation] | None = None,
    outputs: Sequence[str] | None = None,
    head: Head | None = None,
    metadata: Mapping[str, Any] | None = None,
    order: str | None = None,
    masks: Any = None,
) -> SparsePolicy:
    """Convert a network, as it acts at evaluation.

    Its `forward` is traced: modules, functional calls and operators alike, skip connections,
    concatenation, several outputs. Known are linear maps, the activations of `ACTIVATIONS`, layer,
    RMS and batch norm, softmax, means, arithmetic with constants, clamps and everything that only
    moves features (reshape, chunk, cat, slices). What is no op of a policy is refused by name.

    Exact zeros of the weights become absent entries; a weight without any zero is stored dense.
    Masks of `torch.nn.utils.prune` and parametrizations are applied. Hidden neurons that cannot
    influence the output are removed. Network and policy are then compared on the observations of
    the self-test; `metadata["source_distance"]` is the largest difference.
    The module is not changed and may lie on any device.

    Args:
        module: maps float32 `[B, in]` to one or several tensors; its parameters are float32. Also a
            method of a module, an `ExportedProgram`, or a module of TorchScript.
        observation: the step before the module; by default the float32 observation `[in]` as it
            comes, as wide as the first Linear. The normaliser of the training belongs here. Several
            steps by name make a Dict observation: the module takes a dict, or arguments of these
            names.
        outputs: names of what the module returns, if it is a tuple; or which entries, if it is a
            dict. The first is the action's. By default all, `"action"` first, then `"output_1"`.
        head: the step after the first output; by default it is the action.
        metadata: JSON-able facts to add, such as `environment`.
        order: the order in which rows are summed, see `SparsePolicy.repack`; None for the one that
            the widest instruction set of this machine runs fastest.
        masks: a `Sparsifier` of the module, or bool masks `[out, in]` by the name of the weight.
            Then they say which entries a layer has, whatever the values, layers without one have
            all, and no neuron is removed: all policies of the same masks have the same structure,
            as `Plan.update` needs it.

    Returns:
        The policy, with a self-test of eight observations.

    Raises:
        TypeError: a function that no op stands for, named with its module, or weights that are not
            float32 (call `module.float()` to round them).
        ValueError: an option or a number that a policy cannot hold, parts that do not fit, or a
            policy that does not give what the module gives.
    """
    network = _network(module)
    check_modules(network.root)
    steps = _steps(network.root, observation)
    arrays = read_masks(masks)
    builder, values, shaped = _traced(network, steps, outputs, arrays)

    def source(observations: Observations) -> dict[str, NDArray[Any]] | None:
        return _outputs_of(network, steps, observations, list(values), shaped=shaped)

    return assemble(
        builder,
        values,
        Raw() if head is None else head,
        facts={"source": "torch", "versions": versions("torch")},
        metadata=metadata,
        order=order,
        source=source,
    )


@dataclass(frozen=True, eq=False)
class _Network:
    """Something of torch that can be called.

    Attributes:
        root: what holds the parameters.
        call: from tensors to what it returns.
        traced: the same for values that are traced, where it is another function.
    """

    root: nn.Module
    call: Callable[..., Any]
    traced: Callable[..., Any]


def _network(given: Any) -> _Network:
    """The module and the call that `given` means."""
    if isinstance(given, torch.jit.ScriptModule):
        return _Network(given, given, script_call(given))
    if isinstance(given, torch.export.ExportedProgram):
        module: nn.Module = given.module(check_guards=False)
        # They hold the module to the batch that it was exported with.
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()
        return _Network(module, module, module)
    given = getattr(given, "_orig_mod", given)  # of torch.compile
    owner = getattr(given, "__self__", None)
    root = owner if isinstance(owner, nn.Module) and inspect.ismethod(given) else given
    if not isinstance(root, nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {type(given).__name__}")
    return _Network(root, given, given)


def _steps(root: nn.Module, observation: Any) -> Steps:
    """The observation steps by name."""
    if observation is None:
        first = next((part for part in root.modules() if isinstance(part, nn.Linear)), None)
        width = None if first is None else first.in_features
        if width is None:
            matrices = (p.shape[1] for n, p in root.named_parameters() if p.ndim == 2)
            width = next(matrices, None)
        if width is None:
            raise ValueError("module: expected at least one Linear, got none")
        return {"observation": Observation((width,))}
    steps = observation if isinstance(observation, Mapping) else {"observation": observation}
    for name, step in steps.items():
        if not isinstance(step, Observation) or not isinstance(name, str):
            raise TypeError(f"observation: expected an instance of Observation, got {step!r}")
    if not steps:
        raise ValueError("observation: expected at least one step, got none")
    return dict(steps)


def _traced(
    network: _Network, steps: Steps, names: Sequence[str] | None, masks: Any
) -> tuple[Builder, dict[str, Value], bool]:
    """The builder, the outputs by name, and whether observations keep their axes.

    The network of a policy sees flat observations; one that asks for their axes gets them.
    """
    axes = any(len(step.shape) > 1 and not step.categories for step in steps.values())
    refusal: ValueError | None = None
    for shaped in (True, False) if axes else (False,):
        builder = Builder(masks)
        inputs = {name: builder.observe(step, name) for name, step in steps.items()}
        try:
            arguments = {
                name: Features(builder, x, _shape(steps[name], shaped=shaped))
                for name, x in inputs.items()
            }
            result = trace(
                builder,
                network.root,
                _arguments(network, steps, arguments),
                call=network.traced,
            )
            return builder, _named(result, names), shaped
        except ValueError as error:  # UnsupportedError is one
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _shape(step: Observation, *, shaped: bool) -> tuple[int, ...]:
    return step.shape if shaped and not step.categories else (step.size,)


def _arguments(network: _Network, steps: Steps, given: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments of the call: one tensor, one dict, or one for each parameter's name."""
    if list(steps) == ["observation"]:
        return (given["observation"],)
    function = network.call.forward if isinstance(network.call, nn.Module) else network.call
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    if set(steps) <= set(parameters):
        return tuple(given[name] for name in parameters if name in steps)
    return (dict(given),)


def _named(result: Any, names: Sequence[str] | None) -> dict[str, Value]:
    """What a module returns, by name."""
    found = _flat(result)
    if not all(isinstance(part, Value) for part in found.values()):
        kinds = ", ".join(type(part).__name__ for part in found.values())
        raise UnsupportedError(
            f"module: expected tensors, in a tuple or a dict, got {kinds}; pass a method that "
            f"returns tensors"
        )
    if names is None:
        return found
    if isinstance(result, Mapping):
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(f"outputs: expected some of {list(found)}, got {missing}")
        return {name: found[name] for name in names}
    if len(names) != len(found):
        raise ValueError(f"outputs: expected {len(found)} names, got {list(names)}")
    return dict(zip(names, found.values(), strict=True))


def _flat(result: Any) -> dict[str, Any]:
    """Entries of a dict, items of a tuple, or the one result, by name; None is left out."""
    if isinstance(result, Mapping):
        return {str(name): part for name, part in result.items()}
    if isinstance(result, list | tuple):
        parts = [part for part in result if part is not None]
        names = ["action", *(f"output_{n}" for n in range(1, len(parts)))]
        return dict(zip(names, parts, strict=False))
    return {"action": result}


def _outputs_of(
    network: _Network, steps: Steps, observations: Observations, names: list[str], *, shaped: bool
) -> dict[str, NDArray[Any]] | None:
    """What the network itself gives, by the names of the outputs; None if torch cannot run it."""
    tensors = {}
    some = next(network.root.parameters(), torch.zeros(()))
    for name, step in steps.items():
        array = observations[name] if isinstance(observations, Mapping) else observations
        rows = step.apply(array).reshape(-1, *_shape(step, shaped=shaped))
        tensors[name] = torch.from_numpy(rows).to(some.device)
    modes = [(module, module.training) for module in network.root.modules()]
    try:
        network.root.eval()
        with torch.no_grad():
            result = network.call(*_arguments(network, steps, tensors))
    except (NotImplementedError, RuntimeError):  # such as a Linear with a sparse layout
        return None
    finally:
        for module, training in modes:
            module.training = training
    found = _flat(result)
    if not isinstance(result, Mapping):
        found = dict(zip(names, found.values(), strict=True))
    count = len(next(iter(tensors.values())))
    return {
        name: np.broadcast_to(part.detach().cpu().numpy(), (count, *part.shape[1:])).reshape(
            count, -1
        )
        for name, part in found.items()
        if name in names
    }
