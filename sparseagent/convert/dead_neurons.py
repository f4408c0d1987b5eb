"""Removal of hidden neurons that cannot influence the output, in NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.csr import CSR, Float64
from sparseagent.ops import Layer, Linear
from sparseagent.ops.activation import activate
from sparseagent.ops.map import Map
from sparseagent.order import free_slots
from sparseagent.policy import SparsePolicy
from sparseagent.program import Op, Program, Span

#: Heights of the blocks that have a kernel, highest first.
BLOCK_ROWS = (16, 8, 4)

Bools = NDArray[np.bool_]


def remove_dead_neurons(policy: SparsePolicy) -> SparsePolicy:
    """The same policy without hidden neurons that do nothing.

    A neuron without outgoing weights is dropped. A neuron without incoming weights gives the
    constant `activation(bias)`; it is folded into the next layer's bias, in float64 rounded once
    at the end, and dropped. Both are repeated until nothing changes. Inputs and outputs stay. A
    hidden layer that loses every neuron keeps one without weights, so that the net keeps its
    depth. A map between two layers, such as the bounds of a ReLU6, loses the same neurons. Neurons
    that were pruned in blocks go as whole blocks or not at all, because rows that share their
    columns run faster together. What remains keeps its values and its summation order.

    For finite activations the outputs change by no more than the rounding of the folded biases;
    a zero weight that would have turned an Inf into a NaN no longer does so.

    Args:
        policy: any policy; a dense layer's zeros count as absent weights.

    Returns:
        The policy with `metadata["removed_neurons"]`, the number removed from each hidden layer;
        its golden self-test is dropped, for the bits of the outputs may differ.
    """
    program = policy.program
    hidden = _hidden(program)
    free = {slot for units in hidden for slot in (units.slot, units.read)}
    alive, bias = _prune_to_fixed_point(program, hidden)
    shown = {slot: keep if keep.any() else _first_only(keep.size) for slot, keep in alive.items()}
    slots = {slot: int(keep.sum()) for slot, keep in shown.items()}
    ops: list[Op] = []
    for number, op in enumerate(program.ops):
        spans = {
            name: tuple(Span(s.slot, 0, slots[s.slot]) if s.slot in free else s for s in given)
            for name, given in (("reads", op.reads), ("writes", op.writes))
        }
        if isinstance(op, Linear):
            rows = _Side(_marks(alive, op.writes), _marks(shown, op.writes))
            columns = _Side(_marks(alive, op.reads), _marks(shown, op.reads))
            ops.append(replace(op, **spans, layer=_cut(op.layer, bias[number], rows, columns)))
        else:
            moved = replace(op, **spans)
            if isinstance(moved, Map) and moved.scale is not None and moved.shift is not None:
                keep = _marks(shown, op.writes)
                moved = replace(moved, scale=moved.scale[keep], shift=moved.shift[keep])
            ops.append(moved)
    removed = [int((~shown[units.slot]).sum()) for units in hidden]
    smaller = replace(policy, program=replace(program, slots=slots, ops=tuple(ops)), golden=None)
    return smaller.with_metadata(removed_neurons=removed)


@dataclass(frozen=True, eq=False)
class _Units:
    """Neurons that may go: a layer fills their slot, only layers read them.

    Attributes:
        slot: what the layer fills.
        read: what layers read: the same slot, or that of the map between.
        map: the map, such as the bounds of a ReLU6, or None.
    """

    slot: str
    read: str
    map: Map | None = None

    def value(self, layer: Layer, bias: Float64, constant: Bools) -> Float64:
        """What constant neurons give."""
        value = activate(layer.activation, layer.alpha, np.where(constant, bias, 0.0))
        return (value if self.map is None else self.map.float64(value[None])[0])[constant]


def _hidden(program: Program) -> list[_Units]:
    """The neurons of all layers of which some may go, in the order of their slots."""
    free = free_slots(program)
    found = []
    for slot, size in program.slots.items():
        if slot in free:
            found.append(_Units(slot, slot))
            continue
        readers = [program.ops[n] for n in program.readers(slot)]
        if len(readers) != 1 or not isinstance(readers[0], Map):
            continue
        (span,) = readers[0].writes
        if readers[0].reads != (Span(slot, 0, size),) or span != Span(span.slot, 0, size):
            continue
        # Without the map, layers would read the slot itself.
        ops = tuple(
            replace(op, reads=tuple(Span(slot, 0, size) if s == span else s for s in op.reads))
            for op in program.ops
            if op is not readers[0]
        )
        whole = program.slots[span.slot] == size
        if whole and slot in free_slots(program.with_ops(ops)) and _unseen(program, span.slot):
            found.append(_Units(slot, span.slot, readers[0]))
    return found


def _unseen(program: Program, slot: str) -> bool:
    """Whether no output shows a slot."""
    return all(span.slot != slot for span in program.outputs.values())


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of a matrix: which features live, and which are kept (a placeholder lives not)."""

    alive: Bools
    shown: Bools


def _marks(slots: Mapping[str, Bools], spans: tuple[Span, ...]) -> Bools:
    """The marks of the features of `spans`, one behind the other."""
    return np.concatenate([slots[span.slot][span.start : span.stop] for span in spans])


def _first_only(size: int) -> Bools:
    mark = np.zeros(size, np.bool_)
    mark[0] = True
    return mark


def _prune_to_fixed_point(
    program: Program, hidden: list[_Units]
) -> tuple[dict[str, Bools], dict[int, Float64]]:
    """Mark the living features of every slot, and fold constants into the biases of their readers.

    Args:
        program: with its layers as the source has them.
        hidden: the neurons that may go.

    Returns:
        The marks by slot, and the bias of every layer by the number of its op.
    """
    layers = {n: op.layer for n, op in enumerate(program.ops) if isinstance(op, Linear)}
    weights = {n: layer.dense_weight() for n, layer in layers.items()}
    bias = {n: layer.bias.astype(np.float64) for n, layer in layers.items()}
    sizes = {n: _block_rows(layer) for n, layer in layers.items()}
    alive = {slot: np.ones(size, np.bool_) for slot, size in program.slots.items()}
    while True:
        before = sum(int(keep.sum()) for keep in alive.values())
        for units in hidden:
            writer = program.writer(Span(units.slot, 0, program.slots[units.slot]))
            assert writer is not None
            keep, layer = alive[units.slot], layers[writer]
            left = _marks(alive, program.ops[writer].reads)
            constant = ~(weights[writer][:, left] != 0).any(axis=1)
            parts = [
                (reader, weights[reader][:, start : start + keep.size])
                for reader in program.readers(units.read)
                for start in _starts(program.ops[reader].reads, units.read)
            ]
            used = np.zeros(keep.size, np.bool_)
            for reader, part in parts:
                used |= (part[_marks(alive, program.ops[reader].writes)] != 0).any(axis=0)
            size = sizes[writer]
            # A neuron that stays for the sake of its block must not be folded as well.
            needed = np.logical_or.reduceat(used & ~constant, np.arange(0, keep.size, size))
            going = keep & ~np.repeat(needed, size)[: keep.size]
            folded = going & constant
            if folded.any():
                value = units.value(layer, bias[writer], folded)
                for reader, part in parts:
                    bias[reader] = bias[reader] + part[:, folded].astype(np.float64) @ value
            keep &= ~going
            alive[units.read] = keep
        if sum(int(keep.sum()) for keep in alive.values()) == before:
            return alive, bias


def _starts(reads: tuple[Span, ...], slot: str) -> list[int]:
    """Where the features of `slot` begin among those that are read."""
    starts, start = [], 0
    for span in reads:
        if span.slot == slot:
            starts.append(start)
        start += span.size
    return starts


def _block_rows(layer: Layer) -> int:
    """Rows of the blocks in which a layer was pruned; 1 for no blocks."""
    csr = layer.weight
    if not isinstance(csr, CSR) or csr.nnz in (0, csr.shape[0] * csr.shape[1]):
        return 1
    return next((n for n in BLOCK_ROWS if csr.shape[0] >= n and csr.in_blocks(n)), 1)


def _cut(layer: Layer, bias: Float64, rows: _Side, columns: _Side) -> Layer:
    """The layer without the rows and columns that are not shown; placeholders lose all weights."""
    kept_bias = np.where(rows.alive, bias, 0.0)[rows.shown].astype(np.float32)
    placeholder = bool((rows.alive != rows.shown).any() or (columns.alive != columns.shown).any())
    if isinstance(layer.weight, CSR):
        weight: Any = _cut_csr(layer.weight, rows, columns)
    else:
        weight = layer.weight * np.outer(rows.alive, columns.alive) if placeholder else layer.weight
        weight = weight[rows.shown][:, columns.shown]
        if placeholder:
            weight = CSR.from_dense(weight)
    return replace(layer, weight=weight, bias=kept_bias)


def cut_columns(layer: Layer, keep: Bools) -> Layer:
    """The layer without columns in which it has no weight, where `keep` is False."""
    rows = _Side(np.ones(layer.shape[0], np.bool_), np.ones(layer.shape[0], np.bool_))
    return _cut(layer, layer.bias.astype(np.float64), rows, _Side(keep, keep))


def _cut_csr(weight: CSR, rows: _Side, columns: _Side) -> Any:
    """Drop rows, columns and their entries; the stored order of what stays does not change."""
    row, column = weight.rows(), weight.indices
    keep = rows.alive[row] & columns.alive[column]
    run = np.repeat(np.arange(weight.indptr.size - 1), np.diff(weight.indptr))
    counts = np.bincount(run[keep], minlength=weight.indptr.size - 1)
    counts = counts.reshape(-1, weight.runs)[rows.shown].ravel()
    number = np.cumsum(columns.shown) - 1
    cut = CSR(
        (int(rows.shown.sum()), int(columns.shown.sum())),
        np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        number[column[keep]].astype(np.int32),
        weight.values[keep],
        weight.runs,
    )
    full = cut.nnz == cut.shape[0] * cut.shape[1]
    return cut.to_dense() if full and cut.is_ascending() else cut
