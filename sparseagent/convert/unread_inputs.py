"""Inputs that nothing reads are not taken, so that nobody normalises them either."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.dead_neurons import cut_columns
from sparseagent.ops import Linear, Observe
from sparseagent.policy import SparsePolicy
from sparseagent.program import Op, Program, Span

Bools = NDArray[np.bool_]


def drop_unread_inputs(policy: SparsePolicy) -> SparsePolicy:
    """The same policy, whose observation steps take only what something reads.

    A feature is read if a matrix holds a weight for it, if another kind of op reads it, or if it is
    an output. Every input keeps one feature. Bits do not change: an absent weight touches nothing.
    """
    program = policy.program
    read = _read(program)
    for op in program.ops:
        # One-hot rows are taken whole; steps that share a slot keep it as it is.
        if isinstance(op, Observe) and op.writes[0].slot in read:
            span, marks = op.writes[0], read[op.writes[0].slot]
            whole = span.size == marks.size
            if op.step.categories or marks.all() or not whole:
                del read[span.slot]
            elif not marks.any():
                marks[0] = True
    if not read:
        return policy
    slots = {
        name: int(read[name].sum()) if name in read else n for name, n in program.slots.items()
    }
    ops = [_cut(op, read) for op in program.ops]
    outputs = {name: _moved(span, read) for name, span in program.outputs.items()}
    return replace(policy, program=Program(slots, tuple(ops), outputs), golden=None)


def _read(program: Program) -> dict[str, Bools]:
    """Which features of every observed slot something reads."""
    observed = [op.writes[0].slot for op in program.ops if isinstance(op, Observe)]
    read = {slot: np.zeros(program.slots[slot], np.bool_) for slot in observed}
    for op in program.ops:
        start = 0
        for span in op.reads:
            if span.slot in read:
                marks = read[span.slot][span.start : span.stop]
                marks |= _weighed(op, start, span.size) if isinstance(op, Linear) else True
            start += span.size
    for span in program.outputs.values():
        if span.slot in read:
            read[span.slot][span.start : span.stop] = True
    return read


def _weighed(op: Linear, start: int, size: int) -> Bools:
    """Which of these columns hold a weight."""
    weight: Any = op.layer.weight
    if isinstance(weight, np.ndarray):
        return np.ones(size, np.bool_)
    marks = np.zeros(weight.shape[1], np.bool_)
    marks[weight.indices] = True
    return marks[start : start + size]


def _cut(op: Op, read: dict[str, Bools]) -> Op:
    if isinstance(op, Observe):
        (span,) = op.writes
        if span.slot not in read:
            return op
        features = np.flatnonzero(read[span.slot])
        return replace(op, writes=(_moved(span, read),), step=op.step.taking(features))
    if not any(span.slot in read for span in op.reads):
        return op
    if not isinstance(op, Linear):  # it reads whole stretches of what is read
        return replace(op, reads=tuple(_moved(span, read) for span in op.reads))
    keep = np.concatenate(
        [
            read[span.slot][span.start : span.stop]
            if span.slot in read
            else np.ones(span.size, np.bool_)
            for span in op.reads
        ]
    )
    # A stretch that nothing reads is left out; where that is all of them, the first stays.
    reads = tuple(
        _moved(span, read)
        for span in op.reads
        if span.slot not in read or read[span.slot][span.start : span.stop].any()
    )
    if not reads:
        first = op.reads[0]
        reads = (Span(first.slot, 0, 1),)
        keep[0] = True
    return replace(op, reads=reads, layer=cut_columns(op.layer, keep))


def _moved(span: Span, read: dict[str, Bools]) -> Span:
    """Where a stretch lies once unread features before and in it are gone."""
    if span.slot not in read:
        return span
    marks = read[span.slot]
    start = int(marks[: span.start].sum())
    return Span(span.slot, start, start + int(marks[span.start : span.stop].sum()))
