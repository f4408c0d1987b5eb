"""The kinds of ops, one file each: shapes, file form, float64 oracle and error bound.

A new kind is one file here that holds a subclass of `Op`, and one in `csrc/ops/`; nothing else
changes. `OPS` finds it by listing this folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence

from sparseagent.ops.linear import Layer, LayerOp, Linear
from sparseagent.ops.observe import Observation, Observe
from sparseagent.program import Op, Program, Span

__all__ = ["OPS", "Layer", "LayerOp", "Linear", "Observation", "Observe", "chain"]


def _kinds() -> Mapping[str, type[Op]]:
    found: dict[str, type[Op]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Op) and hasattr(kind, "kind"):
                found[kind.kind] = kind
    return found


#: Every kind of op, by the name that files use.
OPS: Mapping[str, type[Op]] = _kinds()


def chain(layers: Sequence[Layer], observation: Observation) -> Program:
    """The program of a feed-forward net: the observation step, then one layer after the other.

    Raises:
        TypeError: something else than layers and an observation step.
        ValueError: no layers, or a layer takes another number of features than it is given.
    """
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{number}]: expected an instance of Layer, got {layer!r}")
    if not isinstance(observation, Observation):
        raise TypeError(f"observation: expected an instance of Observation, got {observation!r}")
    if not layers:
        raise ValueError("layers: expected at least one layer, got none")
    slots = {"x0": observation.size}
    spans = [Span("x0", 0, observation.size)]
    ops: list[Op] = [Observe((), (spans[0],), "observation", observation)]
    for number, layer in enumerate(layers):
        if layer.shape[1] != spans[-1].size:
            raise ValueError(
                f"layers[{number}]: expected {spans[-1].size} inputs, got {layer.shape[1]}"
            )
        name = f"x{number + 1}"
        slots[name] = layer.shape[0]
        spans.append(Span(name, 0, layer.shape[0]))
        ops.append(Linear((spans[-2],), (spans[-1],), layer))
    return Program(slots, tuple(ops), {"action": spans[-1]})
