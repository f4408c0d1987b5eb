"""SciPy CSR: `csr_array @ x` as documented, and the C++ kernel behind it with preallocated arrays.

The kernels are private (`_sparsetools`), but they show what the library would do without the
checks and allocations of its Python layer. Activations are feature-major
within a call; transposing in and out is part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.nets import Float32, aligned, aligned_copy


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """The public operator and the bare kernels."""
    return (_operator(policy, batch), _kernels(policy, batch))


def _activate(name: str, x: Float32) -> None:
    if name == "relu":
        np.maximum(x, np.float32(0), out=x)
    elif name == "tanh":
        np.tanh(x, out=x)


def _matrices(policy: sa.SparsePolicy) -> list[Any]:
    from scipy.sparse import csr_array

    return [csr_array(layer.weight) for layer in dense_layers(policy)]


def _operator(policy: sa.SparsePolicy, batch: int) -> Variant:
    names = [layer.activation for layer in policy.layers]
    biases = [layer.bias if batch == 1 else layer.bias[:, None] for layer in policy.layers]
    steps = list(zip(_matrices(policy), biases, names, strict=True))
    out = aligned((batch, policy.output_size))

    def run(x: Any) -> None:
        for weight, bias, name in steps:
            x = weight @ x
            x += bias
            _activate(name, x)
        out[...] = x.T

    return Variant("csr_array @ x", lambda x: x[0] if batch == 1 else x.T, run, lambda: out)


def _kernels(policy: sa.SparsePolicy, batch: int) -> Variant:
    from scipy.sparse import _sparsetools

    kernel: Any = _sparsetools.csr_matvec if batch == 1 else _sparsetools.csr_matvecs

    def product(matrix: Any) -> Callable[[Float32, Float32], None]:
        """`y += matrix @ x` for x `[in * B]`, y `[out * B]`."""
        vectors = () if batch == 1 else (batch,)
        return partial(kernel, *matrix.shape, *vectors, matrix.indptr, matrix.indices, matrix.data)

    steps = []
    for layer, matrix in zip(policy.layers, _matrices(policy), strict=True):
        bias = aligned_copy(np.repeat(layer.bias[:, None], batch, axis=1)).ravel()
        buffer = aligned((layer.shape[0] * batch,))
        steps.append((product(matrix), bias, buffer, layer.activation))
    first = aligned((policy.input_size, batch))
    out = aligned((batch, policy.output_size))

    def run(x: Float32) -> None:
        if batch == 1:
            y = x
        else:
            first[...] = x.T
            y = first.ravel()
        for multiply, bias, buffer, name in steps:
            buffer[...] = bias
            multiply(y, buffer)
            _activate(name, buffer)
            y = buffer
        out[...] = y.reshape(-1, batch).T

    return Variant("_sparsetools", lambda x: x[0] if batch == 1 else x, run, lambda: out)


CONTENDER = Contender("scipy-csr", "nonzeros", needs("scipy"), versions("scipy"), prepare)
