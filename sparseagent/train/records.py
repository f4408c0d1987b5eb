"""Files that are either complete or absent: raw CSV tables and small JSON objects."""

from __future__ import annotations

import csv
import io
import json
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
    draft.write_text(text)
    os.replace(draft, path)


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


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV table with a header, as strings."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
