"""What the C text of a program is written with: places of slots, tables, lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.export.library import takes_alpha
from sparseagent.ops import Observe
from sparseagent.program import Program, Span

_C_TYPES = {
    "float32": "float",
    "float64": "double",
    "bool": "uint8_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_WIDTH = 96


def c_type(dtype: Any) -> str:
    """What C calls the type of an array."""
    return _C_TYPES[np.dtype(dtype).name]


def c_number(value: Any, dtype: Any) -> str:
    """A literal of exactly this number."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        suffix = "f" if kind.itemsize == 4 else ""
        if np.isinf(value):
            return f"{'-' if value < 0 else ''}(1.0{suffix} / 0.0{suffix})"
        return short_hex(float(value)) + suffix
    if kind.kind == "i" and kind.itemsize == 8:
        return f"(-{-(int(value) + 1)} - 1)" if value == np.iinfo(kind).min else str(int(value))
    return f"{int(value)}u" if kind == np.uint32 else str(int(value))


def short_hex(value: float) -> str:
    """`float.hex` without the zeros behind the last digit."""
    return re.sub(r"\.?0*p", "p", value.hex())


def rows_of(items: Iterable[str]) -> str:
    """Items with commas, in lines of a readable length."""
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) + 2 > _WIDTH:
            lines.append(line)
            line = ""
        line += f"{', ' if line else ''}{item}"
    return ",\n".join(f"  {text}" for text in [*lines, line])


@dataclass
class Writer:
    """Collects the tables and lines of one program.

    Attributes:
        program: what is written.
        inputs: the C names of the parameters, by input.
        index: the type of columns and lengths where bytes are too narrow.
    """

    program: Program
    inputs: Mapping[str, str]
    index: str = "uint16"
    tables: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _places: dict[str, str] = field(default_factory=dict)
    _scratch: dict[tuple[int, str], str] = field(default_factory=dict)
    _names: dict[tuple[str, bytes], str] = field(default_factory=dict)
    floats: int = 0

    def table(self, what: str, array: NDArray[Any]) -> str:
        """A constant array; equal ones are written once. Returns its name, `0` if it is empty."""
        if not array.size:
            return "0"
        kind = c_type(array.dtype)
        key = (kind, array.tobytes())
        if key not in self._names:
            name = self._names[key] = f"sa_{what}{len(self._names)}"
            items = rows_of(c_number(v, array.dtype) for v in array.ravel())
            self.tables.append(f"static const {kind} {name}[{array.size}] = {{\n{items}}};")
        return self._names[key]

    def line(self, text: str) -> None:
        """A statement of the forward function."""
        self.lines.append(f"  {text}")

    def activate(self, name: str, alpha: float, size: int, y: str) -> None:
        """An activation in place over `size` sums; one of -0 counts as +0."""
        parameter = f"{c_number(alpha, np.float32)}, " if takes_alpha(name) else ""
        self.line(f"sa_{name}_all({size}, {parameter}{y});")

    def function(self, signature: str) -> str:
        """The function that the lines are the body of."""
        body = "\n".join(self.lines)
        names = {
            "int32_t i;": r"\bi\b",
            "float *to;": r"\bto\b",
            f"float work[{self.floats}];": "work",
        }
        declared = [f"  {text}\n" for text, name in names.items() if re.search(name, body)]
        return f"{signature} {{\n{''.join(declared)}{body}\n}}"

    def at(self, span: Span) -> str:
        """A pointer to the first feature of a span."""
        base = self._places[span.slot]
        return f"{base} + {span.start}" if span.start else base

    def scratch(self, number: int, what: str) -> str:
        """A pointer to room of an op's own, which `place` was told of."""
        return self._scratch[number, what]

    def together(self, number: int, reads: Sequence[Span]) -> str:
        """A pointer to the features of all reads, one behind the other."""
        if is_together(reads):
            return self.at(reads[0])
        to, place = self.scratch(number, "gathered"), 0
        for span in reads:
            self.line(f"sa_copy({span.size}, {self.at(span)}, {to} + {place});")
            place += span.size
        return to

    def place(self, scratch: Mapping[tuple[int, str], int]) -> None:
        """Lay the slots out in one array, `floats` long; those that never live together share.

        Args:
            scratch: floats that an op needs for itself, by its number and what they are for.
        """
        born: dict[str, int] = {}
        dies: dict[str, int] = {}
        last = len(self.program.ops)
        for number, op in enumerate(self.program.ops):
            for span in op.writes:
                born.setdefault(span.slot, number)
            for span in (*op.reads, *op.writes):
                dies[span.slot] = number
        for span in self.program.outputs.values():
            dies[span.slot] = last
        direct = direct_inputs(self.program)
        lives: list[tuple[int, int, int, Any]] = [
            (born[slot], dies[slot], size, slot)
            for slot, size in self.program.slots.items()
            if slot in born and slot not in direct
        ]
        lives += [(key[0], key[0], size, key) for key, size in scratch.items()]
        placed: list[tuple[int, int, int, int]] = []
        for start, end, size, what in sorted(lives, key=lambda life: (life[0], -life[2])):
            place = 0
            for other, stop, first, past in sorted(placed):
                alive = first <= end and start <= past
                if alive and other < place + size and place < stop:
                    place = stop
            placed.append((place, place + size, start, end))
            self.floats = max(self.floats, place + size)
            places: dict[Any, str] = self._places if isinstance(what, str) else self._scratch
            places[what] = f"work + {place}" if place else "work"
        for slot, name in direct.items():
            self._places[slot] = self.inputs[name]


def is_together(reads: Sequence[Span]) -> bool:
    """Whether each span begins where the one before ends."""
    return all(a.slot == b.slot and a.stop == b.start for a, b in pairwise(reads))


def direct_inputs(program: Program) -> dict[str, str]:
    """Slots that are an input as it comes, which nobody need copy; with the input's name."""
    outputs = {span.slot for span in program.outputs.values()}
    found = {}
    for op in program.ops:
        if not isinstance(op, Observe) or not op.step.is_identity or op.step.dtype != "float32":
            continue
        (span,) = op.writes
        if span.size == program.slots[span.slot] and span.slot not in outputs:
            found[span.slot] = op.input
    return found
