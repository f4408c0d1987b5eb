"""torch's oneDNN linear: weights reordered once, bias and ReLU fused into the product.

This is the operator that torch itself emits where it picks oneDNN. In float32 it prefers MKL, which
is slow on some CPUs of other makers, so oneDNN stands here as a peer of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import (
    Contender,
    UnsupportedError,
    Variant,
    dense_layers,
    needs,
    versions,
)
from bench.contenders.torch_common import one_thread, tensor
from bench.nets import Float32


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """`mkldnn._linear_pointwise` on weights packed for this batch size."""
    import torch

    one_thread()
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        raise UnsupportedError("this torch was built without oneDNN")
    fused = {"identity": "none", "relu": "relu", "tanh": "tanh"}
    steps = []
    for layer in dense_layers(policy):
        weight = torch.ops.mkldnn._reorder_linear_weight(tensor(layer.weight), batch)
        steps.append((weight, tensor(layer.bias), fused[layer.activation]))
    linear = torch.ops.mkldnn._linear_pointwise.default
    last: list[Any] = [None]

    def run(x: torch.Tensor) -> None:
        for weight, bias, activation in steps:
            x = linear(x, weight, bias, activation, [], "")
        last[0] = x

    def read() -> Float32:
        return np.asarray(last[0])

    return (Variant("linear_pointwise", tensor, run, read, torch.inference_mode),)


CONTENDER = Contender("torch-onednn", "all", needs("torch"), versions("torch"), prepare)
