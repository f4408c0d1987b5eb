"""Files that are either complete or absent: raw CSV tables and small JSON objects."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write `text` under another name first, then rename: a killed process leaves no half file.

    Several processes may write one path: the last one wins, whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        draft.write_text(text)
        os.replace(draft, path)
    except OSError:  # a full disk is not to be filled with drafts
        draft.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write an indented JSON document."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON document."""
    return json.loads(path.read_text())


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV table with a header; every row must have exactly the `columns`.

    Raises:
        ValueError: a row lacks a column or has another one.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if set(row) != set(columns):
            raise ValueError(f"rows: expected the columns {list(columns)}, got {sorted(row)}")
        writer.writerow(row)
    write_text(path, stream.getvalue())


def read_table(
    path: Path, columns: Sequence[str], *, key: Sequence[str], remedy: str
) -> list[dict[str, str]]:
    """The rows of a table that something is concluded from, as strings: all of them, or an error.

    Args:
        path: the file, as `write_rows` writes it.
        columns: what its header must say.
        key: the columns that tell a row from all others; none where the caller looks for himself.
        remedy: what to do about a bad file, for the message.

    Raises:
        ValueError: the file is not there, is cut off, has other columns, no row, a row that is too
            short or too long, or a row twice. The message names the file.
    """
    if not path.is_file():
        raise bad_table(path, "a table", "none", remedy)
    try:
        text = path.read_bytes().decode()
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (ValueError, csv.Error) as error:
        got = str(error) if path.stat().st_size else "an empty file"
        raise bad_table(path, "a CSV table", got, remedy) from error
    if header != list(columns):
        raise bad_table(path, f"the columns {', '.join(columns)}", ", ".join(header), remedy)
    if not lines:
        raise bad_table(path, "at least one row", "none", remedy)
    if not text.endswith("\n"):
        raise bad_table(path, "a last line that ends", "one that is cut off", remedy)
    seen: set[tuple[str, ...]] = set()
    rows = []
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(columns):
            what = f"{len(columns)} cells in row {number}"
            raise bad_table(path, what, str(len(cells)), remedy)
        row = dict(zip(columns, cells, strict=True))
        name = tuple(row[column] for column in key)
        if key and name in seen:
            raise bad_table(path, "each row once", f"{', '.join(name)} again", remedy)
        seen.add(name)
        rows.append(row)
    return rows


def bad_table(path: Path, expected: str, got: str, remedy: str) -> ValueError:
    """The error of a table that nothing may be concluded from."""
    return ValueError(f"table: expected {expected} in {path}, got {got}; {remedy}")


def read_number(
    path: Path,
    row: Mapping[str, str],
    column: str,
    remedy: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> float:
    """A finite number of a row of a table, from `least` to `most`.

    Raises:
        ValueError: it is none; the message names the file, the row and the column.
    """
    try:
        number = float(row[column])
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and least <= number <= most):
        within = "" if least == -math.inf else f" of {least:g} or more"
        within = within if most == math.inf else f" from {least:g} to {most:g}"
        place = ", ".join(list(row.values())[:6])
        raise bad_table(path, f"a number{within} as {column} of [{place}]", row[column], remedy)
    return number


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV table with a header, as strings."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
