"""linear as C: rows interleaved by four, columns in bytes where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.csr import CSR
from sparseagent.export.writer import Writer, is_together
from sparseagent.ops import Layer, Linear
from sparseagent.ops.linear import LayerOp
from sparseagent.order import free_slots, with_moved_inputs
from sparseagent.program import Op, Program

#: Rows that are summed side by side; `c/layers.c` is written for so many.
ROWS = 4
#: Entries of a chain, on average, from which on they are summed two steps at a time.
LONG_ROW = 8
_BYTE = 255


def by_length(program: Program) -> Program:
    """The program with the units of every free slot by falling length of their rows.

    Rows that are summed side by side are then of nearly equal length. No sum changes: a unit keeps
    its chain, and its readers find it by another number.
    """
    ops: list[Op] = list(program.ops)
    free = free_slots(program)
    for number, op in enumerate(program.ops):
        here = ops[number]
        slot = op.writes[0].slot
        if not isinstance(here, Linear) or slot not in free:
            continue
        weight = here.layer.weight
        if not isinstance(weight, CSR) or weight.runs > 1 or is_full(weight):
            continue
        rows = np.argsort(-np.diff(weight.indptr), kind="stable").astype(np.int32)
        ops[number] = replace(here, layer=_with_rows(here.layer, weight, rows))
        for reader in program.readers(slot):
            ops[reader] = with_moved_inputs(ops[reader], slot, rows)
    return replace(program, ops=tuple(ops))


def is_full(weight: CSR) -> bool:
    """Whether a dense layer sums the same entries in the same order."""
    return weight.nnz == weight.shape[0] * weight.shape[1] and weight.is_ascending()


def index_type(program: Program) -> str:
    """The type of columns and lengths in `sa_sparse`."""
    widest = max((op.layer.shape[1] for op in program.ops if isinstance(op, LayerOp)), default=0)
    return "uint16" if widest <= np.iinfo(np.uint16).max else "uint32"


def has_long_rows(program: Program) -> bool:
    """Whether rows are so long on average that going two steps at a time pays."""
    weights = [op.layer.weight for op in program.ops if isinstance(op, Linear)]
    sparse = [weight for weight in weights if isinstance(weight, CSR)]
    return sum(w.nnz for w in sparse) >= LONG_ROW * sum(w.indptr.size - 1 for w in sparse)


def room(op: LayerOp) -> dict[str, int]:
    """Floats that the layer needs for itself."""
    needs = {} if is_together(op.reads) else {"gathered": op.in_size}
    weight = op.layer.weight
    if isinstance(weight, CSR) and weight.runs > 1:
        needs["chains"] = weight.runs * weight.shape[0]
    return needs


def _with_rows(layer: Layer, weight: CSR, rows: NDArray[np.int32]) -> Layer:
    """The layer with row `rows[i]` in place i."""
    lengths = np.diff(weight.indptr)[rows]
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    starts = np.repeat(weight.indptr[rows] - indptr[:-1], lengths)
    entries = np.arange(weight.nnz) + starts
    moved = CSR(weight.shape, indptr, weight.indices[entries], weight.values[entries])
    return replace(layer, weight=moved, bias=layer.bias[rows])


def write_linear(writer: Writer, number: int, op: Linear) -> None:
    """The sums of a layer, then its activation over all of them."""
    x, y = writer.together(number, op.reads), writer.at(op.writes[0])
    layer, rows, weight = op.layer, op.out_size, op.layer.weight
    bias = writer.table("bias", layer.bias)
    if not isinstance(weight, CSR) or is_full(weight):
        values = weight.values.reshape(weight.shape) if isinstance(weight, CSR) else weight
        w = writer.table("weights", _interleaved(values))
        writer.line(f"sa_dense({rows}, {op.in_size}, {bias}, {w}, {x}, {y});")
    elif weight.runs == 1:
        _write_sparse(writer, weight, bias, x, y)
    else:
        chains = writer.scratch(number, "chains")
        writer.line(f"sa_starts({rows}, {rows * weight.runs}, {bias}, {chains});")
        _write_sparse(writer, weight, chains, x, chains)
        writer.line(f"sa_join({rows}, {weight.runs}, {chains}, {y});")
    writer.activate(layer.activation, layer.alpha, rows, y)


def _write_sparse(writer: Writer, weight: CSR, start: str, x: str, y: str) -> None:
    """All chains of a layer from `start` on: the first run of every row, then the second ..."""
    numbers = np.arange(weight.indptr.size - 1).reshape(-1, weight.runs).T.ravel()
    spans = [slice(weight.indptr[n], weight.indptr[n + 1]) for n in numbers]
    lengths = np.diff(weight.indptr)[numbers]
    if weight.shape[1] > _BYTE + 1 or int(lengths.max()) > _BYTE:
        order = np.concatenate([np.concatenate(group) for group in _groups(spans)])
        tables = [
            writer.table("lengths", lengths.astype(writer.index)),
            start,
            writer.table("weights", weight.values[order]),
            writer.table("columns", weight.indices[order].astype(writer.index)),
        ]
        writer.line(f"sa_sparse({len(spans)}, {', '.join(tables)}, {x}, {y});")
        return
    groups = _groups(spans)
    order = np.concatenate([np.concatenate(group) for group in groups])
    full = lengths[: lengths.size // ROWS * ROWS].reshape(-1, ROWS)
    common = full.min(axis=1).astype(np.uint8)
    last = np.zeros((-(-lengths.size // ROWS) - len(full), ROWS), lengths.dtype)
    last.ravel()[: lengths.size - full.size] = lengths[full.size :]
    more = np.concatenate((full - full.min(axis=1, keepdims=True), last))
    together = np.concatenate([first for first, _ in groups])
    rest = np.concatenate([second for _, second in groups])
    tables = [
        writer.table("common", common),
        writer.table("more", _words(more)),
        start,
        writer.table("weights", weight.values[order]),
        writer.table("columns", _words(weight.indices[together])),
        writer.table("rest", weight.indices[rest].astype(np.uint8)),
    ]
    writer.line(f"sa_sparse_bytes({len(spans)}, {', '.join(tables)}, {x}, {y});")


def _groups(spans: Sequence[slice]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Entries of every `ROWS` chains: those side by side, then the rest; single chains at last."""
    full = len(spans) // ROWS * ROWS
    groups = []
    for first in range(0, full, ROWS):
        entries = [np.arange(span.start, span.stop) for span in spans[first : first + ROWS]]
        least = min(map(len, entries))
        side_by_side = np.stack([own[:least] for own in entries], axis=1).ravel()
        groups.append((side_by_side, np.concatenate([own[least:] for own in entries])))
    none = np.empty(0, np.int64)
    groups += [(none, np.arange(span.start, span.stop)) for span in spans[full:]]
    return groups


def _words(numbers: NDArray[Any]) -> NDArray[np.uint32]:
    """Four bytes to a word, the first lowest."""
    bytes_ = numbers.reshape(-1, ROWS).astype(np.uint32)
    words: NDArray[np.uint32] = (bytes_ << np.arange(0, 32, 8, dtype=np.uint32)).sum(
        axis=1, dtype=np.uint32
    )
    return words


def _interleaved(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows by fours, their weights of one column side by side; single rows at last."""
    full = len(weight) // ROWS * ROWS
    blocks = weight[:full].reshape(-1, ROWS, weight.shape[1]).swapaxes(1, 2)
    return np.concatenate((blocks.ravel(), weight[full:].ravel()))
