"""The table of results: one CSV row for each finished cell, shared by processes and studies."""

from __future__ import annotations

import csv
import fcntl
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparseagent.study.cells import Key
from sparseagent.train.records import read_rows, write_text

COLUMNS = (
    *("study", "env", "algo", "method", "sparsity", "seed"),
    *("steps", "episodes", "mean", "std", "worst_decile", "iqm", "random"),
    *("kept", "effective", "full", "network", "actor_sparsity", "critic_sparsity"),
    *("latency_p50_ns", "seconds", "different_actions", "settings", "commit", "versions"),
)

Row = Mapping[str, Any]


def read_table(path: Path) -> list[dict[str, str]]:
    """All rows, as strings; none where the file does not exist.

    Raises:
        ValueError: the file has other columns.
    """
    if not path.exists():
        return []
    rows = read_rows(path)
    if rows and tuple(rows[0]) != COLUMNS:
        raise ValueError(f"csv: expected the columns {', '.join(COLUMNS)} in {path}")
    return rows


def key_of(row: Row) -> Key:
    """What tells a row from all others."""
    return (
        str(row["study"]),
        str(row["env"]),
        str(row["algo"]),
        str(row["method"]),
        float(row["sparsity"]),
        int(row["seed"]),
    )


def add_row(path: Path, row: Row) -> None:
    """Add a row, or replace the one with its key; the file is sorted, and whole at any moment.

    Raises:
        ValueError: the row has other columns.
    """
    if set(row) != set(COLUMNS):
        raise ValueError(f"row: expected the columns {list(COLUMNS)}, got {sorted(row)}")
    with _locked(path):
        rows: dict[Key, Row] = {key_of(known): known for known in read_table(path)}
        rows[key_of(row)] = row
        stream = io.StringIO()
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))
        write_text(path, stream.getvalue())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time read and write; a dead process holds no lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
