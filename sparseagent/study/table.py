"""The table of results: one CSV row for each finished cell, shared by processes and studies."""

from __future__ import annotations

import csv
import fcntl
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparseagent.study.cells import Key
from sparseagent.train.records import bad_table, read_number, write_text
from sparseagent.train.records import read_table as read_strictly

COLUMNS = (
    *("study", "env", "algo", "method", "sparsity", "seed"),
    *("steps", "episodes", "mean", "std", "worst_decile", "iqm", "random"),
    *("kept", "effective", "full", "network", "actor_sparsity", "critic_sparsity"),
    *("latency_p50_ns", "seconds", "different_actions", "settings", "commit", "versions"),
    "resumed",
)

_WHOLE = ("seed", "steps", "episodes", "kept", "effective", "full", "different_actions")
_NAMES = ("study", "env", "algo", "method", "network", "settings", "commit", "versions")
#: A training that was broken off may have gone on exactly or not; older tables do not say.
_RESUMED = ("True", "False", "")
_ANY = (-math.inf, math.inf)
_COUNT = (0.0, math.inf)
#: Least and greatest value of the columns that hold numbers.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys((*_WHOLE, "std", "latency_p50_ns", "seconds"), _COUNT),
    **dict.fromkeys(("mean", "worst_decile", "iqm", "random"), _ANY),
    **dict.fromkeys(("sparsity", "actor_sparsity", "critic_sparsity"), (0.0, 1.0)),
}
_REMEDY = (
    "restore it from a copy, or delete what is damaged and give the command of the study again, "
    "which trains what has no row"
)

Row = Mapping[str, Any]


def read_table(path: Path) -> list[dict[str, str]]:
    """All rows, as strings; none where the file does not exist.

    Raises:
        ValueError: the file is empty or cut off, has other columns, a row twice, or a value that
            no cell has; the message names it.
    """
    if not path.exists():
        return []
    rows = read_strictly(path, COLUMNS, key=(), remedy=_REMEDY, added={"resumed": ""})
    seen: set[Key] = set()
    for row in rows:
        _check(path, row)
        key = key_of(row)
        if key in seen:
            raise bad_table(path, "each cell once", f"{', '.join(map(str, key))} again", _REMEDY)
        seen.add(key)
    return rows


def _check(path: Path, row: Mapping[str, str]) -> None:
    """Refuse what cannot be the outcome of a cell."""
    for column, (least, most) in _RANGES.items():
        if column == "critic_sparsity" and not row[column]:
            continue  # an agent without a critic
        value = read_number(path, row, column, _REMEDY, least=least, most=most)
        if column in _WHOLE and not row[column].isdecimal():
            raise bad_table(path, f"a whole number as {column}", f"{value:g}", _REMEDY)
    if not int(row["effective"]) <= int(row["kept"]) <= int(row["full"]):
        got = f"{row['effective']}, {row['kept']} and {row['full']}"
        raise bad_table(path, "effective <= kept <= full", got, _REMEDY)
    for column in _NAMES:
        if not row[column] or not row[column].isprintable():
            raise bad_table(path, f"a name as {column}", repr(row[column]), _REMEDY)
    if row["resumed"] not in _RESUMED:
        what = "True, False or nothing as resumed"
        raise bad_table(path, what, repr(row["resumed"]), _REMEDY)


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
        ValueError: as `check_row`, or the table is damaged.
        OSError: the table cannot be written, for instance because the disk is full.
    """
    check_row(path, row)
    with _locked(path):
        rows: dict[Key, Row] = {key_of(known): known for known in read_table(path)}
        rows[key_of(row)] = row
        stream = io.StringIO()
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))
        try:
            write_text(path, stream.getvalue())
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: the row of {', '.join(map(str, key_of(row)))} could not be "
                "written; make room and give the same command again",
                str(path),
            ) from error


def check_row(path: Path, row: Row) -> None:
    """Refuse a row that `read_table` would refuse; `path` is the table it is meant for.

    Raises:
        ValueError: it has other columns or a value that no cell has.
    """
    if set(row) != set(COLUMNS):
        raise ValueError(f"row: expected the columns {list(COLUMNS)}, got {sorted(row)}")
    _check(path, {name: "" if value is None else str(value) for name, value in row.items()})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time read and write; a dead process holds no lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
