"""ONNX Runtime: one thread, sequential, all graph optimisations, bound input and output.

`run_with_iobinding` on memory of ours was faster than `run` at every size tried, so it alone is
timed; `Gemm` and `MatMul + Add` made no difference. Pruned weights are plain zeros: the
runtime loads sparse initialisers but turns them dense (onnxruntime#5540).
"""

from __future__ import annotations

from typing import Any

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.nets import Float32, aligned

OPSET, IR_VERSION = 21, 10


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """One session; every observation array gets a binding of its own, all write to one output."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model(policy, batch), options, providers=["CPUExecutionProvider"]
    )
    out = aligned((batch, policy.output_size))
    result = ort.OrtValue.ortvalue_from_numpy(out)

    def wrap(x: Float32) -> Any:
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", result)
        return binding

    return (Variant("Gemm, io binding", wrap, session.run_with_iobinding, lambda: out),)


def model(policy: sa.SparsePolicy, batch: int) -> bytes:
    """The policy as a serialised ONNX graph `x [B, in] -> y [B, out]`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, last = [], [], "x"
    layers = dense_layers(policy)
    for number, layer in enumerate(layers):
        constants.append(numpy_helper.from_array(layer.weight, f"w{number}"))
        constants.append(numpy_helper.from_array(layer.bias, f"b{number}"))
        inputs = [last, f"w{number}", f"b{number}"]
        last = "y" if number == len(layers) - 1 else f"h{number}"
        if layer.activation == "identity":
            nodes.append(helper.make_node("Gemm", inputs, [last], transB=1))
        else:
            operator = {"relu": "Relu", "tanh": "Tanh"}[layer.activation]
            nodes.append(helper.make_node("Gemm", inputs, [f"g{number}"], transB=1))
            nodes.append(helper.make_node(operator, [f"g{number}"], [last]))
    shapes = {"x": policy.input_size, "y": policy.output_size}
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width])
        for name, width in shapes.items()
    )
    graph = helper.make_graph(nodes, "policy", [x], [y], constants)
    opset = [helper.make_opsetid("", OPSET)]
    built = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    onnx.checker.check_model(built)
    serialised: bytes = built.SerializeToString()
    return serialised


CONTENDER = Contender(
    "onnxruntime",
    "all",
    needs("onnx", "onnxruntime"),
    versions("onnxruntime"),
    prepare,
)
