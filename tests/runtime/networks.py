"""Random policies and hypothesis strategies for the runtime tests."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

import sparseagent as sa
from sparseagent.ops.activation import ACTIVATIONS

ISAS = [isa.name for isa in sa.kernels() if isa.available]
FORMATS = ["auto", "dense", "csr"]  # those that run every batch
ORDERS = ["neon", "avx2", "avx512"]


def formats_of(isa: str, policy: sa.SparsePolicy) -> list[str]:
    """The formats of `isa` that can run `policy`, and the choice among them."""
    info = next(info for info in sa.kernels() if info.name == isa)
    return ["auto", *(f for f in info.formats if _follows(f, info.lanes, policy))]


def _follows(format: str, lanes: int, policy: sa.SparsePolicy) -> bool:
    if format == "dense":
        return all(
            not isinstance(layer.weight, sa.CSR) or layer.weight.is_ascending()
            for layer in policy.layers
        )
    if format == "block":
        # One observation wants blocks of `lanes` rows (where there are lanes), a tile of four.
        sizes = {4, lanes} if lanes > 1 else {4}
        return all(in_blocks(layer.weight, size) for layer in policy.layers for size in sizes)
    return True


def in_blocks(weight: Any, size: int) -> bool:
    """Whether `size` rows, from every multiple of `size` on, store the same columns alike."""
    if not isinstance(weight, sa.CSR):
        return True
    rows = [weight.indices[a:b].tolist() for a, b in pairwise(weight.indptr)]
    return weight.runs == 1 and all(row == rows[r // size * size] for r, row in enumerate(rows))


def random_csr(rng: Any, out: int, width: int, sparsity: float, runs: int = 1) -> sa.CSR:
    """A random mask; with several runs the entries are also stored in a random order."""
    weight = (rng.normal(size=(out, width)) / np.sqrt(width)).astype(np.float32)
    weight[rng.random((out, width)) < sparsity] = 0
    plain = sa.CSR.from_dense(weight)
    if runs == 1:
        return plain
    order = np.lexsort((rng.random(plain.nnz), plain.rows()))
    lengths = np.diff(plain.indptr)
    cuts = [np.sort(rng.integers(0, n + 1, runs - 1)) for n in lengths]
    starts = np.concatenate(
        [plain.indptr[r] + np.concatenate(([0], cut)) for r, cut in enumerate(cuts)]
    )
    indptr = np.concatenate((starts, [plain.nnz])).astype(np.int32)
    return sa.CSR(plain.shape, indptr, plain.indices[order], plain.values[order], runs)


def random_policy(
    rng: Any,
    sizes: tuple[int, ...],
    sparsity: float,
    activation: str = "relu",
    runs: int = 1,
    **parts: Any,
) -> sa.SparsePolicy:
    """A chain of layers; the last one is linear."""
    layers = []
    for number, (width, out) in enumerate(pairwise(sizes)):
        last = number == len(sizes) - 2
        name = "identity" if last else activation
        weight = random_csr(rng, out, width, sparsity, runs)
        bias = rng.normal(size=out).astype(np.float32)
        layers.append(sa.Layer(weight, bias, name, ACTIVATIONS[name]))
    step = parts.pop("observation", sa.Observation((sizes[0],)))
    return sa.SparsePolicy(sa.chain(layers, step), **parts)


def block_csr(rng: Any, out: int, width: int, sparsity: float, size: int) -> sa.CSR:
    """A random mask of `size` x 1 blocks; the last one may be cut."""
    weight = rng.normal(size=(out, width)) / np.sqrt(width)
    kept = rng.random((-(-out // size), width)) >= sparsity
    weight[~np.repeat(kept, size, axis=0)[:out]] = 0
    return sa.CSR.from_dense(weight.astype(np.float32))


def floats() -> st.SearchStrategy[float]:
    """Finite float32 numbers: zeros of both signs, denormals and large ones among them."""
    return st.floats(-(2.0**40), 2.0**40, width=32)


@st.composite
def csr_layers(draw: Any, width: int) -> sa.Layer:
    """One layer: empty rows, full rows, one column, odd widths, several runs in any order."""
    out = draw(st.integers(1, 40))
    runs = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    seed = draw(st.integers(0, 2**32 - 1))
    sparsity = draw(st.sampled_from([0.0, 0.3, 0.7, 0.9, 0.98, 1.0]))
    rng = np.random.default_rng(seed)
    block = draw(st.sampled_from([1, 1, 4, 16])) if runs == 1 else 1
    if block == 1:
        weight = random_csr(rng, out, width, sparsity, runs)
    else:
        weight = block_csr(rng, out, width, sparsity, block)
    if draw(st.booleans()) and weight.nnz:
        special = draw(st.lists(floats(), min_size=1, max_size=5))
        values = weight.values.copy()
        values[rng.integers(0, weight.nnz, len(special))] = special
        weight = sa.CSR(weight.shape, weight.indptr, weight.indices, values, runs)
    name = draw(st.sampled_from(sorted(ACTIVATIONS)))
    bias = rng.normal(size=out).astype(np.float32)
    return sa.Layer(weight, bias, name, ACTIVATIONS[name])


@st.composite
def policies(draw: Any) -> sa.SparsePolicy:
    """One to three layers of `csr_layers`."""
    width = inputs = draw(st.integers(1, 70))
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        layers.append(draw(csr_layers(width)))
        width = layers[-1].shape[0]
    return sa.SparsePolicy(sa.chain(tuple(layers), sa.Observation((inputs,))))


def same_bits(a: Any, b: Any) -> bool:
    """Equal dtype, shape and bytes: NaN equals NaN, and -0 differs from 0."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
