"""NumPy on its BLAS (OpenBLAS in the wheels): matmuls into preallocated arrays, bias in place.

Two layouts of the weights are tried, `[out, in]` as torch stores it and its transposed copy: which
one OpenBLAS runs faster changes with the shape, widely at small batches. At batch 1 `np.dot` on
vectors saves the machinery of `np.matmul`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.nets import Float32, aligned, aligned_copy

Step = Callable[[Any, Any], Any]


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """Both layouts with `matmul`; at batch 1 also both with `dot` on vectors."""
    layers = dense_layers(policy)
    layouts = {
        "[out, in]": [layer.weight.T for layer in layers],
        "[in, out]": [aligned_copy(layer.weight.T) for layer in layers],
    }
    variants = [
        _chain(f"matmul, weights {layout}", policy, weights, np.matmul, (batch,))
        for layout, weights in layouts.items()
    ]
    if batch == 1:
        variants += [
            _chain(f"dot, weights {layout}", policy, weights, np.dot, ())
            for layout, weights in layouts.items()
        ]
    return tuple(variants)


def _chain(
    name: str,
    policy: sa.SparsePolicy,
    weights: list[Float32],
    multiply: Callable[..., Any],
    lead: tuple[int, ...],
) -> Variant:
    """The forward for inputs of shape `[*lead, in]`."""
    buffers = [aligned((*lead, layer.bias.size)) for layer in policy.layers]
    steps = [
        (weight, aligned_copy(layer.bias), buffer, _activation(layer.activation))
        for weight, layer, buffer in zip(weights, policy.layers, buffers, strict=True)
    ]

    def run(x: Float32) -> None:
        for weight, bias, y, activate in steps:
            multiply(x, weight, out=y)
            np.add(y, bias, out=y)
            if activate is not None:
                activate(y, y)
            x = y

    out = buffers[-1] if lead else buffers[-1][None]
    return Variant(name, (lambda x: x) if lead else (lambda x: x[0]), run, lambda: out)


def _activation(name: str) -> Step | None:
    zero = np.float32(0)
    steps: dict[str, Step | None] = {
        "identity": None,
        "relu": lambda x, out: np.maximum(x, zero, out=out),
        "tanh": lambda x, out: np.tanh(x, out=out),
    }
    return steps[name]


def version() -> str:
    """NumPy's version and which BLAS kernels it really runs."""
    import threadpoolctl

    blas = [
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas" and "numpy" in pool["filepath"]
    ]
    return ", ".join([versions("numpy")(), *blas])


CONTENDER = Contender("numpy", "all", needs("threadpoolctl"), version, prepare)
