"""A CSR kernel in Numba, the best simple form of each regime.

Batch 1: a loop over rows. Batches: activations feature-major, one row of sums at a time, whose
inner loop over the batch is vectorised: the whole batch, or tiles of it that stay in the cache
through all layers. Four nonzeros a step, so that sums are loaded and stored a quarter as often, and
unsigned columns, which need no test for negative ones. All layers run in one compiled call, on
arrays that start on a cache line. Compiled with and without `fastmath`; the faster counts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.nets import Float32, aligned, aligned_copy

TILES = (64, 128)
CODES = {"identity": 0, "relu": 1, "tanh": 2}


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """Both settings of `fastmath`; in batches also with and without tiles."""
    dense_layers(policy)  # refuses activations that peers are not set up for
    arrays = _flat(policy)
    out = aligned((batch, policy.output_size))
    variants = []
    for fast in (False, True):
        one, many = _compiled(fast)
        suffix = ", fastmath" if fast else ""
        if batch == 1:
            buffers = aligned((2, _padded(policy)))
            run = _call(one, arrays, (buffers, out[0]))
            variants.append(Variant(f"rows{suffix}", lambda x: x[0], run, lambda: out))
            continue
        for tile in sorted({batch, *(size for size in TILES if size < batch)}):
            buffers = aligned((2, _padded(policy), tile))
            run = _call(many, arrays, (buffers, out))
            name = f"feature-major, {tile} columns{suffix}"
            variants.append(Variant(name, lambda x: x, run, lambda: out))
    return tuple(variants)


def _call(kernel: Any, arrays: tuple[Any, ...], rest: tuple[Any, ...]) -> Any:
    """The forward of `x`; it compiles when it is verified."""

    def run(x: Float32) -> None:
        kernel(x, arrays, *rest)

    return run


def _padded(policy: sa.SparsePolicy) -> int:
    """Features of the widest activation, in whole cache lines."""
    widest = max(policy.input_size, *(layer.shape[0] for layer in policy.layers))
    return -(-widest // 16) * 16


def _flat(policy: sa.SparsePolicy) -> tuple[Any, ...]:
    """All layers behind one another: first rows, codes, row starts, columns, values, biases."""
    csr = [sa.CSR.from_dense(layer.dense_weight()) for layer in policy.layers]
    sizes = [0, *(layer.shape[0] for layer in policy.layers)]
    before = np.cumsum([0, *(matrix.nnz for matrix in csr)])
    starts = [m.indptr[:-1] + first for m, first in zip(csr, before, strict=False)]
    return (
        np.cumsum(sizes).astype(np.int64),
        np.array([CODES[layer.activation] for layer in policy.layers], np.int64),
        np.concatenate([*starts, before[-1:]]).astype(np.int64),
        np.concatenate([m.indices for m in csr]).astype(np.uint32),
        aligned_copy(np.concatenate([m.values for m in csr])),
        aligned_copy(np.concatenate([layer.bias for layer in policy.layers])),
    )


@lru_cache
def _compiled(fast: bool) -> tuple[Any, Any]:
    """The kernels `(x, csr, buffers, out)` for one observation and for a batch."""
    from numba import njit

    jit, inner = njit(fastmath=fast), njit(fastmath=fast, inline="always")
    dot, activate, add_rows = inner(_dot), inner(_activate), inner(_add_rows)

    def one(x: Any, csr: Any, buffers: Any, out: Any) -> None:
        rows, codes, starts, columns, values, bias = csr
        for layer in range(codes.size):
            first = rows[layer]
            source = x if layer == 0 else buffers[layer % 2]
            target = out if layer == codes.size - 1 else buffers[(layer + 1) % 2]
            for row in range(first, rows[layer + 1]):
                span = (starts[row], starts[row + 1])
                target[row - first] = dot(span, columns, values, source, bias[row])
            activate(target, codes[layer], rows[layer + 1] - first)

    def many(x: Any, csr: Any, buffers: Any, out: Any) -> None:
        rows, codes, starts, columns, values, bias = csr
        tile = buffers.shape[2]
        for begin in range(0, x.shape[0], tile):
            count = min(tile, x.shape[0] - begin)
            for i in range(x.shape[1]):
                for j in range(count):
                    buffers[0, i, j] = x[begin + j, i]
            for layer in range(codes.size):
                first = rows[layer]
                source, target = buffers[layer % 2], buffers[(layer + 1) % 2]
                for row in range(first, rows[layer + 1]):
                    total = target[row - first]
                    total[:count] = bias[row]
                    span = (starts[row], starts[row + 1], count)
                    add_rows(span, columns, values, source, total)
                    activate(total, codes[layer], count)
            last = buffers[codes.size % 2]
            for j in range(count):
                for i in range(out.shape[1]):
                    out[begin + j, i] = last[i, j]

    return jit(one), jit(many)


def _activate(x: Any, code: Any, count: Any) -> None:
    """The activation of the first `count` numbers, in place."""
    if code == 1:
        for j in range(count):
            x[j] = max(x[j], np.float32(0))
    elif code == 2:
        for j in range(count):
            x[j] = np.tanh(x[j])


def _dot(span: Any, columns: Any, values: Any, x: Any, total: Any) -> Any:
    """`total` plus the products of one row; four at a time."""
    k, end = span
    while k + 4 <= end:
        left = values[k] * x[columns[k]] + values[k + 1] * x[columns[k + 1]]
        right = values[k + 2] * x[columns[k + 2]] + values[k + 3] * x[columns[k + 3]]
        total += left + right
        k += 4
    for n in range(k, end):
        total += values[n] * x[columns[n]]
    return total


def _add_rows(span: Any, columns: Any, values: Any, x: Any, total: Any) -> None:
    """Adds the products of one row for `count` observations to `total`; four at a time."""
    k, end, count = span
    while k + 4 <= end:
        v0, v1, v2, v3 = values[k], values[k + 1], values[k + 2], values[k + 3]
        x0, x1 = x[columns[k]], x[columns[k + 1]]
        x2, x3 = x[columns[k + 2]], x[columns[k + 3]]
        for j in range(count):
            total[j] += (v0 * x0[j] + v1 * x1[j]) + (v2 * x2[j] + v3 * x3[j])
        k += 4
    for n in range(k, end):
        value, inputs = values[n], x[columns[n]]
        for j in range(count):
            total[j] += value * inputs[j]


CONTENDER = Contender("numba-csr", "nonzeros", needs("numba"), versions("numba"), prepare)
