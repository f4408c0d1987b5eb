"""Summation orders: the packer of a target lays down the order that its fastest kernel follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sparseagent import _core
from sparseagent.csr import CSR, Int32
from sparseagent.policy import ORDERS, Layer, SparsePolicy

#: By lanes: layers that keep more of their weights than this stay ascending: dense kernels can
#: follow that. Looking inputs up beats dense from about here on (`python -m bench.crossover`).
PACKED_DENSITY = {16: 0.41, 8: 0.35, 4: 0.35}

#: Layers of more chunks of inputs (one input for each lane) stay ascending too: a byte numbers the
#: chunks in `csrc/kernels/perm_walk.h`, so nothing would look their inputs up.
MOST_CHUNKS = 256

#: Layers of up to so many rows for each lane are stored as several runs per row however dense they
#: are, unless their rows are shorter than that.
FEW_ROWS = 2
LONG_ROW = 16


def best_order() -> str:
    """The order made for the widest instruction set of this machine."""
    available = [name for name, (runs, *_) in _core.isas().items() if runs]
    return available[-1] if available[-1] in ORDERS else "ascending"


def repack(policy: SparsePolicy, order: str) -> SparsePolicy:
    """See `SparsePolicy.repack`."""
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")
    layers = list(policy.layers)
    lanes = ORDERS[order]
    for number, layer in enumerate(policy.layers):
        if lanes and _gains_by_packing(layer, lanes):
            _pack(layers, number, lanes)
        else:
            layers[number] = layers[number].ascending()
    packed = replace(policy, layers=tuple(layers), order=order, golden=None)
    return packed if policy.golden is None else packed.with_golden(policy.golden.observations)


def _gains_by_packing(layer: Layer, lanes: int) -> bool:
    """Whether looking inputs up is the fastest way to run this layer."""
    rows, inputs = layer.shape
    if inputs > MOST_CHUNKS * lanes:
        return False
    if isinstance(layer.weight, CSR) and layer.sparsity > 0.0 and _in_vectors(layer.weight, lanes):
        return False
    # One long chain per row would leave the machine waiting; several runs per row do not.
    if rows <= FEW_ROWS * lanes and layer.nnz >= LONG_ROW * rows:
        return True
    return isinstance(layer.weight, CSR) and 1.0 - layer.sparsity <= PACKED_DENSITY[lanes]


def _in_vectors(csr: CSR, lanes: int) -> bool:
    """Whether whole vectors of rows share their inputs, so that there is nothing to look up."""
    rows = csr.shape[0]
    # Their lengths are compared first: that is cheap, and nearly always enough.
    lengths = np.diff(csr.indptr[:: csr.runs])
    alike = rows >= lanes and np.array_equal(lengths, lengths[np.arange(rows) // lanes * lanes])
    return alike and csr.ascending().in_blocks(lanes)


def _pack(layers: list[Layer], number: int, lanes: int) -> None:
    """Order one layer; a hidden layer's rows change places, and the next layer's columns follow."""
    layer, last = layers[number], number + 1 == len(layers)
    csr: Any = layer.weight
    if not isinstance(csr, CSR):
        csr = CSR.from_dense(csr, np.ones(layer.shape, np.bool_))
    runs, rows, indptr, entries = _core.pack_for_lanes(
        [layer.core_argument()], lanes, free_rows=not last
    )
    weight = CSR(csr.shape, indptr, csr.indices[entries], csr.values[entries], runs)
    layers[number] = replace(layer, weight=weight, bias=layer.bias[rows])
    if not last:
        layers[number + 1] = _move_columns(layers[number + 1], rows)


def _move_columns(layer: Layer, rows: Int32) -> Layer:
    """The layer for inputs in another order: new input `i` is old input `rows[i]`."""
    weight: Any
    if isinstance(layer.weight, CSR):
        place = np.empty_like(rows)
        place[rows] = np.arange(rows.size, dtype=rows.dtype)
        weight = replace(layer.weight, indices=place[layer.weight.indices])
    else:
        weight = layer.weight[:, rows]
    return replace(layer, weight=weight)
