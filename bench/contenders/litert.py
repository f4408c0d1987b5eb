"""LiteRT (TensorFlow Lite) on XNNPACK.

The model is written with the flatbuffer schema that the package carries, without TensorFlow:
FULLY_CONNECTED with a fused ReLU, or followed by TANH. Views of the input and output tensors are
held and the inner interpreter is invoked directly: the public `invoke` refuses to run while a view
exists, and asking for views or copies anew at every call costs extra. `CompiledModel`, the newer
interface of the same runtime, needs longer per call and is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import (
    Contender,
    DenseLayer,
    UnsupportedError,
    Variant,
    dense_layers,
    needs,
    versions,
)
from bench.nets import Float32


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """An interpreter with one thread, all of whose operators XNNPACK took over."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model(policy, batch), num_threads=1)
    interpreter.allocate_tensors()
    if interpreter._get_ops_details()[-1]["op_name"] != "DELEGATE":
        raise UnsupportedError("XNNPACK did not take the model over")
    inputs = interpreter.tensor(interpreter.get_input_details()[0]["index"])()
    outputs = interpreter.tensor(interpreter.get_output_details()[0]["index"])()
    invoke = interpreter._interpreter.Invoke

    def run(x: Float32) -> None:
        inputs[...] = x
        invoke()

    keep = (interpreter,)  # it owns the bytes of the model
    return (Variant("XNNPACK, held views", lambda x: x, run, lambda: outputs, keep=keep),)


def model(policy: sa.SparsePolicy, batch: int) -> bytes:
    """The policy as a serialised .tflite model `[B, in] -> [B, out]`."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = _Graph(batch)
    last = graph.tensor("x", policy.input_size)
    graph.subgraph.inputs = [last]
    for number, layer in enumerate(dense_layers(policy)):
        last = graph.layer(number, layer, last)
    graph.subgraph.outputs = [last]
    built = schema.ModelT()
    built.version = 3
    built.description = "policy"
    built.operatorCodes = graph.codes
    built.subgraphs = [graph.subgraph]
    built.buffers = graph.buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(built.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Graph:
    """The lists of a .tflite subgraph as they fill: constants, tensors, operators."""

    def __init__(self, batch: int) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.batch = batch
        self.codes = [
            self._code(schema.BuiltinOperator.FULLY_CONNECTED),
            self._code(schema.BuiltinOperator.TANH),
        ]
        self.buffers = [schema.BufferT()]  # buffer 0 is empty by the format's rule
        self.subgraph = schema.SubGraphT()
        self.subgraph.tensors = []
        self.subgraph.operators = []

    def tensor(self, name: str, width: int) -> int:
        """An activation `[B, width]`; returns its index."""
        return self._tensor(name, [self.batch, width], 0)

    def constant(self, name: str, values: Float32) -> int:
        """A weight or bias; returns its index."""
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self._tensor(name, list(values.shape), len(self.buffers) - 1)

    def layer(self, number: int, layer: DenseLayer, source: int) -> int:
        """Adds a fully connected layer on tensor `source`; returns the index of its output."""
        options = self.schema.FullyConnectedOptionsT()
        if layer.activation == "relu":
            options.fusedActivationFunction = self.schema.ActivationFunctionType.RELU
        inputs = [
            source,
            self.constant(f"w{number}", layer.weight),
            self.constant(f"b{number}", layer.bias),
        ]
        result = self._operator(0, inputs, f"g{number}", layer.bias.size, options)
        if layer.activation == "tanh":
            result = self._operator(1, [result], f"h{number}", layer.bias.size, None)
        return result

    def _code(self, operator: int) -> Any:
        code = self.schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = operator
        code.version = 1
        return code

    def _tensor(self, name: str, shape: list[int], buffer: int) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, shape, buffer
        tensor.type = self.schema.TensorType.FLOAT32
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def _operator(self, code: int, inputs: list[int], name: str, width: int, options: Any) -> int:
        operator = self.schema.OperatorT()
        operator.opcodeIndex, operator.inputs = code, inputs
        operator.outputs = [self.tensor(name, width)]
        if options is not None:
            operator.builtinOptionsType = self.schema.BuiltinOptions.FullyConnectedOptions
            operator.builtinOptions = options
        self.subgraph.operators.append(operator)
        return int(operator.outputs[0])


CONTENDER = Contender(
    "litert",
    "all",
    needs("ai_edge_litert", "flatbuffers"),
    versions("ai-edge-litert"),
    prepare,
)
