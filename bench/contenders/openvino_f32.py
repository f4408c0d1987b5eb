"""OpenVINO on its CPU plugin, told to compute in float32.

Where the CPU has bfloat16 instructions OpenVINO computes in them unless told otherwise and would
fail the check. Input and output tensors are memory of ours, bound once per observation array.
"""

from __future__ import annotations

from typing import Any

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.nets import Float32, aligned


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """One infer request per observation array, so that nothing is bound within a call."""
    import openvino as ov

    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # the process is pinned already
    }
    compiled = ov.Core().compile_model(model(policy, batch), "CPU", options)
    out = aligned((batch, policy.output_size))
    result = ov.Tensor(out, shared_memory=True)

    def wrap(x: Float32) -> Any:
        request = compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(x, shared_memory=True))
        request.set_output_tensor(result)
        # The compiled method that `infer` ends in: it saves the checks of the Python layer.
        return super(ov.InferRequest, request).infer, request

    def run(wrapped: Any) -> None:
        wrapped[0]({}, True, False)

    def run_public(wrapped: Any) -> None:
        wrapped[1].infer(share_outputs=True)

    return (
        Variant("compiled infer, bound tensors", wrap, run, lambda: out, keep=(compiled,)),
        Variant("infer(), bound tensors", wrap, run_public, lambda: out, keep=(compiled,)),
    )


def model(policy: sa.SparsePolicy, batch: int) -> Any:
    """The policy as a graph `[B, in] -> [B, out]` of MatMul, Add and the activation."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    start = ops.parameter([batch, policy.input_size], np.float32, name="x")
    last: Any = start
    for layer in dense_layers(policy):
        weight, bias = ops.constant(layer.weight), ops.constant(layer.bias[None])
        last = ops.add(ops.matmul(last, weight, False, True), bias)
        if layer.activation != "identity":
            last = {"relu": ops.relu, "tanh": ops.tanh}[layer.activation](last)
    return ov.Model([last], [start], "policy")


CONTENDER = Contender("openvino", "all", needs("openvino"), versions("openvino"), prepare)
