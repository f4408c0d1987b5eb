"""The C text of every kind of op: one function each, found by the kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparseagent.export.layers import room, write_linear
from sparseagent.export.windows import write_conv2d, write_pool
from sparseagent.export.writer import Writer, c_number, c_type, direct_inputs
from sparseagent.ops import Observe
from sparseagent.ops.combine import Combine
from sparseagent.ops.linear import LayerOp
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.reduce import Reduce
from sparseagent.program import Op


def write_observe(writer: Writer, number: int, op: Observe) -> None:
    """Numbers as the environment hands them out to what the network sees of them."""
    del number
    (span,) = op.writes
    if span.slot in direct_inputs(writer.program):
        return
    x, y, step = writer.inputs[op.input], writer.at(span), op.step
    place = "i" if step.columns is None else f"{writer.table('columns', step.columns)}[i]"
    value = f"{x}[{place}] != 0" if step.dtype == "bool" else f"{x}[{place}]"
    if step.categories:
        counts = writer.table("categories", np.array(step.categories, np.int32))
        numbers = len(step.categories)
        writer.line(f"for (i = 0, to = {y}; i < {numbers}; to += {counts}[i], ++i) {{")
        writer.line(f"  sa_one_hot({counts}[i], (int64_t){x}[i], to);")
        writer.line("}")
        return
    if step.only_casts:
        writer.line(f"for (i = 0; i < {op.out_size}; ++i) ({y})[i] = (float)({value});")
        return
    real = np.dtype(step.precision)
    lines = [f"{c_type(real)} v = ({c_type(real)})({value});"]
    if step.shift is not None:
        lines.append(f"v -= {writer.table('shift', step.shift.astype(real))}[i];")
    if step.scale is not None:
        table = writer.table("scale", step.scale.astype(real))
        lines.append(f"v /= {table}[{'i' if step.scale.size > 1 else '0'}];")
    for bound, sign in ((step.low, "<"), (step.high, ">")):
        if not np.isinf(real.type(bound)):  # NaN passes the comparisons
            number_ = c_number(real.type(bound), real)
            lines.append(f"v = v {sign} {number_} ? {number_} : v;")
    lines.append(f"({y})[i] = (float)v;")
    body = "\n    ".join(lines)
    writer.line(f"for (i = 0; i < {op.out_size}; ++i) {{\n    {body}\n  }}")


def write_map(writer: Writer, number: int, op: Map) -> None:
    """Affine, activation, bounds; each over all features."""
    del number
    x, y, n = writer.at(op.reads[0]), writer.at(op.writes[0]), op.in_size
    if op.scale is None or op.shift is None:
        writer.line(f"sa_copy({n}, {x}, {y});")
    else:
        scale, shift = writer.table("scale", op.scale), writer.table("shift", op.shift)
        writer.line(f"sa_affine({n}, {scale}, {shift}, {x}, {y});")
    writer.activate(op.activation, op.alpha, n, y)
    for bound, name in ((op.low, "at_least"), (op.high, "at_most")):
        if bound is not None:
            writer.line(f"sa_{name}_all({n}, {c_number(bound, np.float32)}, {y});")


def write_norm(writer: Writer, number: int, op: Norm) -> None:
    """One call."""
    del number
    eps = c_number(op.eps, np.float32)
    x, y = writer.at(op.reads[0]), writer.at(op.writes[0])
    writer.line(f"sa_{op.rule}_norm({op.in_size}, {eps}, {x}, {y});")


def write_combine(writer: Writer, number: int, op: Combine) -> None:
    """One call."""
    del number
    weight = "" if op.weight is None else f"{writer.table('weights', op.weight)}, "
    first, second = (writer.at(span) for span in op.reads)
    y = writer.at(op.writes[0])
    writer.line(f"sa_{op.rule}({op.in_size}, {weight}{first}, {second}, {y});")


def write_reduce(writer: Writer, number: int, op: Reduce) -> None:
    """One call over all groups."""
    del number
    size = op.in_size // op.groups
    step, next_ = (op.groups, 1) if op.strided else (1, size)
    weight = "" if op.weight is None else f"{writer.table('weights', op.weight)}, "
    x, y = writer.at(op.reads[0]), writer.at(op.writes[0])
    writer.line(f"sa_{op.rule}({op.groups}, {size}, {step}, {next_}, {weight}{x}, {y});")


#: By kind: what writes it. An op that is not here is refused by name.
WRITERS: Mapping[str, Callable[[Writer, int, Any], None]] = {
    "observe": write_observe,
    "linear": write_linear,
    "map": write_map,
    "norm": write_norm,
    "combine": write_combine,
    "reduce": write_reduce,
    "conv2d": write_conv2d,
    "pool": write_pool,
}


def room_of(op: Op) -> dict[str, int]:
    """Floats that an op needs for itself, by what they are for."""
    return room(op) if isinstance(op, LayerOp) else {}
