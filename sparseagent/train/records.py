"""Files that are either complete or absent: raw CSV tables and small JSON objects."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A stream for the content of `path`, which is there whole afterwards, or as it was.

    The content goes to a draft, which is on the disk before it takes the name: neither a kill nor
    a power cut leaves half a file. Several processes may write one path: the last one wins.

    Raises:
        OSError: the content could not be written, for want of room for instance.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except OSError as error:
        why = f"{error.strerror}: cannot write {path}; mend that and give the same command again"
        raise OSError(error.errno, why) from error
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` whole or not at all."""
    with written_whole(path) as stream:
        stream.write(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` whole or not at all."""
    write_bytes(path, text.encode())


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
    path: Path,
    columns: Sequence[str],
    *,
    key: Sequence[str],
    remedy: str,
    added: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """The rows of a table that something is concluded from, as strings: all of them, or an error.

    Args:
        path: the file, as `write_rows` writes it.
        columns: what its header must say.
        key: the columns that tell a row from all others; none where the caller looks for himself.
        remedy: what to do about a bad file, for the message.
        added: columns that tables of older versions lack, all of them, and what they mean by that.

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
    older = added if added and header == [name for name in columns if name not in added] else {}
    if header != list(columns) and not older:
        raise bad_table(path, f"the columns {', '.join(columns)}", ", ".join(header), remedy)
    if not lines:
        raise bad_table(path, "at least one row", "none", remedy)
    if not text.endswith("\n"):
        raise bad_table(path, "a last line that ends", "one that is cut off", remedy)
    seen: set[tuple[str, ...]] = set()
    rows = []
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            what = f"{len(header)} cells in row {number}"
            raise bad_table(path, what, str(len(cells)), remedy)
        row = {**dict(zip(header, cells, strict=True)), **older}
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


def hashes(root: Path, paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of files, by their names relative to `root`."""
    found = {}
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        found[path.relative_to(root).as_posix()] = digest.hexdigest()
    return found


def unlike(root: Path, recorded: Mapping[str, str]) -> list[str]:
    """Names among the `recorded` whose file is missing or has another SHA-256."""
    wrong = []
    for name, digest in recorded.items():
        path = root / name
        if not path.is_file() or hashes(root, [path])[name] != digest:
            wrong.append(name)
    return wrong
