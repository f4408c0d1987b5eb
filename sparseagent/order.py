"""Summation orders: the packer of a target lays down the order that its fastest kernel follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sparseagent import _core
from sparseagent.csr import CSR, Int32
from sparseagent.ops import Layer, LayerOp, Linear
from sparseagent.program import Op, Program, Span

#: Summation orders by name, with the lanes of the kernel that each is made for; 0: any kernel.
ORDERS: Mapping[str, int] = {"ascending": 0, "neon": 4, "avx2": 8, "avx512": 16}

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


def check_order(order: str) -> None:
    """Raise ValueError unless there is such an order."""
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")


def reorder(program: Program, order: str) -> Program:
    """The program with its rows summed in another order, see `SparsePolicy.repack`.

    Units of a slot that only layers read change places too, where that packs better; what anybody
    else sees of a slot stays where it is.
    """
    check_order(order)
    lanes = ORDERS[order]
    ops: list[Op] = list(program.ops)
    free = free_slots(program)
    for number, op in enumerate(program.ops):
        here = ops[number]
        if not isinstance(op, LayerOp) or not isinstance(here, LayerOp):
            continue
        slides = not isinstance(op, Linear)
        if slides or not lanes or not _gains_by_packing(op.layer, lanes):
            ops[number] = replace(here, layer=here.layer.ascending())
            continue
        slot = op.writes[0].slot
        layer, rows = _packed(here.layer, lanes, free_rows=slot in free)
        ops[number] = replace(here, layer=layer)
        if slot in free:
            for reader in program.readers(slot):
                ops[reader] = with_moved_inputs(ops[reader], slot, rows)
    return replace(program, ops=tuple(ops))


def free_slots(program: Program) -> set[str]:
    """Slots whose features may change places or go: one layer fills them, only layers read them."""
    outputs = {span.slot for span in program.outputs.values()}
    free = set()
    for slot, size in program.slots.items():
        whole = Span(slot, 0, size)
        writer = program.writer(whole)
        if slot in outputs or writer is None or not isinstance(program.ops[writer], Linear):
            continue
        if all(
            isinstance(program.ops[n], Linear)
            and all(span in (whole,) for span in program.ops[n].reads if span.slot == slot)
            for n in program.readers(slot)
        ):
            free.add(slot)
    return free


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


def _packed(layer: Layer, lanes: int, *, free_rows: bool) -> tuple[Layer, Int32]:
    """The layer in the order made for `lanes`, and which row lies where, `[out]`."""
    csr: Any = layer.weight
    if not isinstance(csr, CSR):
        csr = CSR.from_dense(csr, np.ones(layer.shape, np.bool_))
    runs, rows, indptr, entries = _core.pack_for_lanes(
        csr.shape[1], csr.runs, csr.indptr, csr.indices, lanes, free_rows=free_rows
    )
    weight = CSR(csr.shape, indptr, csr.indices[entries], csr.values[entries], runs)
    return replace(layer, weight=weight, bias=layer.bias[rows]), rows


def with_moved_inputs(op: Op, slot: str, rows: Int32) -> Op:
    """The layer for features of `slot` in another order: new feature `i` is old `rows[i]`."""
    assert isinstance(op, Linear)
    moved = np.arange(op.in_size, dtype=rows.dtype)
    start = 0
    for span in op.reads:
        if span.slot == slot:
            moved[start : start + span.size] = start + rows
        start += span.size
    layer = op.layer
    weight: Any
    if isinstance(layer.weight, CSR):
        place = np.empty_like(moved)
        place[moved] = np.arange(moved.size, dtype=moved.dtype)
        weight = replace(layer.weight, indices=place[layer.weight.indices])
    else:
        weight = layer.weight[:, moved]
    return replace(op, layer=replace(layer, weight=weight))
