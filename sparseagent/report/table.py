"""Markdown tables whose source is readable too: aligned columns, sensible numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Literal, SupportsFloat

__all__ = ["format_interval", "format_ns", "format_number", "markdown_table"]

Align = Literal["left", "right"]
_MISSING = "-"


def markdown_table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    align: Sequence[Align] | None = None,
    digits: int = 3,
) -> str:
    """Write a Markdown table.

    Args:
        header: Column titles `[columns]`.
        rows: Cells `[rows, columns]`: text is kept (pipes and line breaks escaped), numbers go
            through `format_number`, None becomes "-".
        align: Alignment for each column; by default columns of numbers are set right.
        digits: Significant digits of fractions, at least 1.

    Returns:
        The table with a line break after each line.

    Raises:
        ValueError: There is no column, or a row or `align` has another length than `header`.
    """
    if not header:
        raise ValueError("header must hold at least one column, got none")
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"rows[{index}] must have {len(header)} cells, got {len(row)}")
    sides = _alignment(rows, len(header)) if align is None else list(align)
    if len(sides) != len(header) or not set(sides) <= {"left", "right"}:
        raise ValueError(
            f"align must name 'left' or 'right' for each of {len(header)} columns, got {sides}"
        )
    lines = [[_escape(title) for title in header]]
    lines += [[_cell(value, digits) for value in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = [
        "-" * (width - 1) + ":" if side == "right" else "-" * width
        for width, side in zip(widths, sides, strict=True)
    ]
    body = [
        [
            cell.rjust(width) if side == "right" else cell.ljust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        ]
        for line in lines
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in [body[0], rule, *body[1:]])


def format_number(value: SupportsFloat, digits: int = 3) -> str:
    """Write a number for a reader: `1,234`, `0.95`, `251`, `1.2e-07`.

    Integers are exact. Fractions keep `digits` significant digits, but never lose digits before
    the decimal point; very small and very large ones are written with an exponent.

    Raises:
        ValueError: `digits` is below 1.
    """
    if digits < 1:
        raise ValueError(f"digits must be at least 1, got {digits}")
    if isinstance(value, Integral):
        return f"{int(value):,}"
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    if number == 0.0:
        return "0"
    rounded = float(f"{number:.{digits}g}")  # 9.996 has one digit more before the point than after
    exponent = math.floor(math.log10(abs(rounded)))
    if not -5 < exponent < 12:
        return f"{number:.{digits - 1}e}"
    text = f"{number:,.{max(0, digits - 1 - exponent)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_ns(nanoseconds: float, digits: int = 3) -> str:
    """Write a duration with its unit: `850 ns`, `1.23 µs`, `4.5 ms`, `2 s`."""
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(float(f"{nanoseconds:.{digits}g}")) >= factor:
            return f"{format_number(nanoseconds / factor, digits)} {unit}"
    return f"{format_number(float(nanoseconds), digits)} ns"


def format_interval(interval: tuple[float, float], digits: int = 3) -> str:
    """Write an interval: `240 to 259`."""
    low, high = interval
    return f"{format_number(low, digits)} to {format_number(high, digits)}"


def _alignment(rows: Sequence[Sequence[object]], columns: int) -> list[Align]:
    def is_number(value: object) -> bool:
        return value is None or (isinstance(value, Real) and not isinstance(value, bool))

    return [
        "right" if rows and all(is_number(row[k]) for row in rows) else "left"
        for k in range(columns)
    ]


def _cell(value: object, digits: int) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real):
        return format_number(value, digits)
    return _escape(str(value))


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\r", "").replace("\n", "<br>")
