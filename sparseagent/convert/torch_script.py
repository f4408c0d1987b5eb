"""Walks the graph of a TorchScript module with the rules of the tracer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from sparseagent.convert.torch_trace import Traced
from sparseagent.unsupported import UnsupportedError

_UNPACKED = ("prim::ListUnpack", "prim::TupleUnpack")
#: Nodes without a result that matters, or that say what is known anyway.
_IDLE = ("prim::RaiseException", "aten::warn", "prim::Print")
_NUMBERS: dict[str, Callable[..., Any]] = {
    "aten::Int": int,
    "aten::IntImplicit": int,
    "aten::Float": float,
    "aten::Bool": bool,
    "aten::FloatImplicit": float,
    "prim::NumToTensor": lambda x: x,
    "aten::len": len,
    "aten::__getitem__": lambda x, i: x[i],
    "aten::__is__": lambda x, y: x is y,
    "aten::__isnot__": lambda x, y: x is not y,
    "aten::__not__": lambda x: not x,
    "aten::eq": lambda x, y: x == y,
    "aten::ne": lambda x, y: x != y,
    "aten::lt": lambda x, y: x < y,
    "aten::gt": lambda x, y: x > y,
    "aten::append": lambda x, y: x.append(y) or x,
    "aten::floordiv": lambda x, y: x // y,
    "prim::unchecked_cast": lambda x: x,
    "prim::min": min,
    "prim::max": max,
}
#: Those that look at what holds tensors, not at their numbers.
_OF_LISTS = (
    *("aten::append", "aten::__getitem__", "aten::len"),
    *("aten::__is__", "aten::__isnot__", "prim::unchecked_cast"),
)
_MADE: dict[str, Callable[[Any, list[Any]], Any]] = {
    "prim::Constant": lambda node, inputs: node.output().toIValue(),
    "prim::GetAttr": lambda node, inputs: getattr(inputs[0], node.s("name")),
    "prim::ListConstruct": lambda node, inputs: inputs,
    "prim::TupleConstruct": lambda node, inputs: tuple(inputs),
    "prim::DictConstruct": lambda node, inputs: dict(zip(inputs[::2], inputs[1::2], strict=True)),
}


def script_call(module: torch.jit.ScriptModule) -> Callable[..., Any]:
    """A function that runs the graph of `module` on what a tracer follows.

    Raises:
        UnsupportedError: on the call, a node that is no op, by name.
    """
    training = [(part, part.training) for part in module.modules()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated; its files are not gone
            frozen = torch.jit.freeze(module.eval())
    finally:
        for part, mode in training:
            part.training = mode

    def call(*arguments: Any) -> Any:
        graph = frozen.graph
        torch._C._jit_pass_inline(graph)
        names = [value.debugName() for value in graph.inputs()]
        values: dict[str, Any] = dict(zip(names, (frozen, *arguments), strict=False))
        _run(graph, values)
        results = [values[value.debugName()] for value in graph.outputs()]
        return results[0] if len(results) == 1 else tuple(results)

    return call


def _run(block: Any, values: dict[str, Any]) -> None:
    for node in block.nodes():
        kind = node.kind()
        inputs = [values[value.debugName()] for value in node.inputs()]
        outputs = [value.debugName() for value in node.outputs()]
        if kind in _UNPACKED:
            values.update(zip(outputs, inputs[0], strict=True))
        elif kind == "prim::If":
            chosen = list(node.blocks())[0 if inputs[0] else 1]
            _run(chosen, values)
            ends = [values[value.debugName()] for value in chosen.outputs()]
            values.update(zip(outputs, ends, strict=True))
        elif kind not in _IDLE:
            result = _result(node, kind, inputs)
            if len(outputs) == 1:
                values[outputs[0]] = result
            elif outputs:
                values.update(zip(outputs, result, strict=True))


def _result(node: Any, kind: str, inputs: list[Any]) -> Any:
    if kind in _MADE:
        return _MADE[kind](node, inputs)
    traced = next((part for part in _parts(inputs) if isinstance(part, Traced)), None)
    if kind in _NUMBERS and (traced is None or kind in _OF_LISTS):
        return _NUMBERS[kind](*inputs)
    if not kind.startswith("aten::"):
        raise UnsupportedError(f"module: {kind}: expected a graph of ATen calls without loops")
    name = kind.removeprefix("aten::")
    if traced is None:
        return getattr(torch.ops.aten, name)(*inputs)
    positional, named = _arguments(node, inputs)
    return traced.tracer.call(name, positional, named)


def _arguments(node: Any, inputs: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as a Python call would give them: those behind a star by name."""
    schema = torch._C.parse_schema(node.schema())
    positional, named = [], {}
    for argument, value in zip(schema.arguments, inputs, strict=True):
        if argument.kwarg_only:
            named[argument.name] = value
        else:
            positional.append(value)
    return positional, named


def _parts(tree: Any) -> list[Any]:
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in _parts(part)]
    return [tree]
