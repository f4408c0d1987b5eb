"""ONNX Runtime: one thread, sequential, all graph optimisations, bound input and output.

`run_with_iobinding` on memory of ours was faster than `run` at every size tried, so it alone is
timed; `Gemm` and `MatMul + Add` made no difference. Pruned weights are plain zeros: the
runtime loads sparse initialisers but turns them dense (onnxruntime#5540).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import (
    Contender,
    UnsupportedError,
    Variant,
    dense_layer,
    needs,
    versions,
)
from bench.nets import Float32, aligned
from sparseagent.ops import Linear, Observe
from sparseagent.ops.combine import Combine
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.reduce import Reduce
from sparseagent.program import Op, Span

OPSET, IR_VERSION = 21, 10


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """The policy as a graph of its own."""
    return (variant(model(policy, batch), batch, policy.output_size),)


def variant(content: bytes, batch: int, outputs: int) -> Variant:
    """One session of a model `x [B, in] -> y [B, out]`; every array gets a binding of its own."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    out = aligned((batch, outputs))
    result = ort.OrtValue.ortvalue_from_numpy(out)

    def wrap(x: Float32) -> Any:
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", result)
        return binding

    return Variant("Gemm, io binding", wrap, session.run_with_iobinding, lambda: out)


def model(policy: sa.SparsePolicy, batch: int) -> bytes:
    """The policy as a serialised ONNX graph `x [B, in] -> y [B, out]`.

    Raises:
        UnsupportedError: the program has an op or a span that is not set up here.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph()
    for op in policy.program.ops:
        graph.add(op)
    last = graph.read(next(iter(policy.program.outputs.values())))
    graph.node("Identity", [last], name="y")
    shapes = {"x": policy.input_size, "y": policy.output_size}
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width])
        for name, width in shapes.items()
    )
    built = helper.make_model(
        helper.make_graph(graph.nodes, "policy", [x], [y], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(built)
    serialised: bytes = built.SerializeToString()
    return serialised


class _Graph:
    """Nodes and constants; every span that an op writes is a value, read as a whole."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._values: dict[Span, str] = {}

    def add(self, op: Op) -> None:
        """The nodes of one op."""
        (written,) = op.writes
        if isinstance(op, Observe):
            self._values[written] = "x"
            return
        known = {Linear: self._linear, Norm: self._norm, Map: self._map, Combine: self._combine}
        build = known.get(type(op), self._reduce)
        self._values[written] = build(op, [self.read(span) for span in op.reads])

    def read(self, span: Span) -> str:
        """The value that was written there."""
        if span not in self._values:
            raise UnsupportedError(f"this peer is set up for whole slots alone, not for {span}")
        return self._values[span]

    def node(self, kind: str, inputs: list[str], name: str = "", **how: Any) -> str:
        """A node with one output."""
        from onnx import helper

        name = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **how))
        return name

    def constant(self, array: Any) -> str:
        """An initialiser."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _linear(self, op: Any, x: list[str]) -> str:
        layer = dense_layer(op.layer)
        y = self.node(
            "Gemm", [*x, self.constant(layer.weight), self.constant(layer.bias)], transB=1
        )
        return self._activated(layer.activation, y)

    def _activated(self, activation: str, y: str) -> str:
        kinds = {"identity": "", "relu": "Relu", "tanh": "Tanh"}
        if activation not in kinds:
            raise UnsupportedError(f"peers are set up for relu and tanh, not {activation}")
        return self.node(kinds[activation], [y]) if kinds[activation] else y

    def _norm(self, op: Any, x: list[str]) -> str:
        size = op.out_size
        if op.rule == "layer":
            one, zero = np.ones(size, np.float32), np.zeros(size, np.float32)
            inputs = [*x, self.constant(one), self.constant(zero)]
            return self.node("LayerNormalization", inputs, axis=1, epsilon=op.eps)
        if op.rule == "l2":
            return self.node("LpNormalization", x, axis=1, p=2)
        raise UnsupportedError(f"this peer is set up for layer and l2 norms, not {op.rule}")

    def _map(self, op: Any, x: list[str]) -> str:
        if op.scale is not None or op.low is not None or op.high is not None:
            raise UnsupportedError("this peer is set up for activations alone")
        return self._activated(op.activation, x[0])

    def _combine(self, op: Any, x: list[str]) -> str:
        if op.rule != "lerp":
            return self.node({"add": "Add", "multiply": "Mul"}[op.rule], x)
        change = self.node("Sub", x[::-1])
        return self.node("Add", [x[0], self.node("Mul", [change, self.constant(op.weight)])])

    def _reduce(self, op: Any, x: list[str]) -> str:
        if not isinstance(op, Reduce) or op.rule != "mean":
            raise UnsupportedError(f"this peer is not set up for {op.kind}")
        axes = [0, -1, op.groups] if op.strided else [0, op.groups, -1]
        shaped = self.node("Reshape", [*x, self.constant(np.array(axes, np.int64))])
        axis = self.constant(np.array([1 if op.strided else 2], np.int64))
        return self.node("ReduceMean", [shaped, axis], keepdims=0)


CONTENDER = Contender(
    "onnxruntime",
    "all",
    needs("onnx", "onnxruntime"),
    versions("onnxruntime"),
    prepare,
)
