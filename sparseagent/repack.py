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
PACKED_DENSITY = {16: 0.45, 8: 0.35, 4: 0.35}


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
    csr = layer.weight
    if not isinstance(csr, CSR) or 1.0 - layer.sparsity > PACKED_DENSITY[lanes]:
        return False
    # Whole vectors of rows that share their inputs have nothing to look up. Their lengths
    # are compared first: that is cheap, and nearly always enough.
    lengths = np.diff(csr.indptr[:: csr.runs])
    first = np.arange(csr.shape[0]) // lanes * lanes
    alike = csr.shape[0] >= lanes and np.array_equal(lengths, lengths[first])
    return not (alike and csr.ascending().in_blocks(lanes))


def _pack(layers: list[Layer], number: int, lanes: int) -> None:
    """Order one layer; a hidden layer's rows change places, and the next layer's columns follow."""
    layer, last = layers[number], number + 1 == len(layers)
    csr: Any = layer.weight
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
