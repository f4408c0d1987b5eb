"""Follows a module's forward with torch.fx and adds what it computes to a `Builder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.torch_modules import add_module


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__module__.startswith("torch.nn")


def trace(builder: Builder, network: nn.Module, x: Value) -> Mapping[str, Value]:
    """The outputs of `network` for `x`, by name."""
    graph = _Tracer().trace(network)
    values: dict[fx.Node, Any] = {}
    result: Any = None
    for node in graph.nodes:
        args = fx.node.map_arg(node.args, lambda one: values[one])
        if node.op == "placeholder":
            values[node] = x
        elif node.op == "call_module":
            path = str(node.target)
            values[node] = add_module(builder, args[0], path, network.get_submodule(path))
        elif node.target is torch.tanh:
            values[node] = builder.activation(args[0], "tanh")
        elif node.target == "view":
            values[node] = args
        elif node.target == "mean":
            given, (_, count, actions) = args[0][0], args[0][0:0] or args[0]
            values[node] = builder.reduce("mean", args[0][0], args[0][3], strided=True)
        elif node.op == "output":
            result = args[0]
        else:
            raise NotImplementedError(str(node))
    return result
