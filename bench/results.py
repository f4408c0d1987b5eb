"""The rows: one contender in one cell, appended to a CSV file that a killed run takes up again."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.machine import ROOT

RESULTS = ROOT / "bench" / "results"
FIGURES = ROOT / "bench" / "figures"
DEFAULT_CSV = RESULTS / "results.csv"


class Cell(NamedTuple):
    """What all contenders of one interleaved measurement have in common."""

    net: str
    source: str
    sparsity: float
    batch: int
    isa: str


@dataclass(frozen=True)
class Row:
    """One contender in one cell. Unknown numbers are NaN, empty in the file.

    Attributes:
        net: name of the net or policy file.
        source: pattern of the generated mask, or `file`.
        sparsity: fraction of zeros, in [0, 1).
        batch: observations per call, `B`.
        isa: instruction set of sparseagent's kernels and of the measured peak.
        contender: its name.
        variant: which of its ways was fastest and timed.
        status: `ok`, or why there is no time.
        calls: recorded calls.
        p50_ns: median time of a call from Python.
        p99_ns: 99th percentile, given 50 calls or more.
        ns_per_observation: `p50_ns / batch`.
        forward_ns: median time of the forward measured inside the contender, without Python.
        gflops: 2 x nonzeros x batch / p50: the arithmetic that the pruned policy needs.
        peak_share: `gflops / peak_gflops`.
        peak_share_stored: the same for the weights the contender multiplies by: all of them for a
            dense one.
        error: largest error against float64, relative to the largest output.
        prepare_s: seconds to build, compile and pack, without verification.
        nonzeros: weights of the pruned policy.
        weights: weights of the dense net.
        peak_gflops: FMA peak of the core, measured in the same cell.
        load: load average of the last minute after timing.
        time: start of the cell, UTC; ratios are taken within one cell only.
        version: versions of the contender's libraries.
        cpu: model of the CPU.
        core: core the process was pinned to.
        kernel: operating system.
        python: version of the interpreter.
        commit: commit of this repository.
        flags: compiler and flags of sparseagent's kernels.
    """

    net: str
    source: str
    sparsity: float
    batch: int
    isa: str
    contender: str
    variant: str
    status: str
    calls: int
    p50_ns: float
    p99_ns: float
    ns_per_observation: float
    forward_ns: float
    gflops: float
    peak_share: float
    peak_share_stored: float
    error: float
    prepare_s: float
    nonzeros: int
    weights: int
    peak_gflops: float
    load: float
    time: str
    version: str
    cpu: str
    core: int
    kernel: str
    python: str
    commit: str
    flags: str

    @property
    def cell(self) -> Cell:
        """The measurement this row belongs to."""
        return Cell(self.net, self.source, self.sparsity, self.batch, self.isa)

    @property
    def ok(self) -> bool:
        """Whether there is a time."""
        return self.status == "ok"


FIELDS = tuple(field.name for field in dataclasses.fields(Row))
_TYPES = {field.name: str(field.type) for field in dataclasses.fields(Row)}


def append(path: Path, rows: Iterable[Row]) -> None:
    """Add `rows` to the file in one write, so that a killed run leaves whole cells.

    Raises:
        ValueError: the file has other columns than this version writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists() or path.stat().st_size == 0
    if not fresh:
        _check_header(path)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(FIELDS)
        writer.writerows([_text(getattr(row, name)) for name in FIELDS] for row in rows)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Row]:
    """All rows of the file, oldest first; none if there is no file.

    Raises:
        ValueError: the file has other columns than this version writes.
    """
    if not path.exists() or path.stat().st_size == 0:
        return []
    _check_header(path)
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(texts) for texts in csv.DictReader(file)]


def latest(rows: Sequence[Row]) -> dict[Cell, dict[str, Row]]:
    """For each cell the rows of its latest measurement, by contender.

    Only of the CPU that was measured last: a table never compares times of two.
    """
    cells: dict[Cell, dict[str, Row]] = {}
    for row in (row for row in rows if row.cpu == rows[-1].cpu):
        current = cells.get(row.cell)
        if current and next(iter(current.values())).time != row.time:
            current = None
        if current is None:
            current = cells[row.cell] = {}
        current[row.contender] = row
    return cells


def _check_header(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        header = tuple(next(csv.reader(file), ()))
    if header != FIELDS:
        raise ValueError(f"{path}: written by another version of this benchmark; move it away")


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


def _row(texts: Mapping[str, str]) -> Row:
    values: dict[str, Any] = dict(texts)
    for name, text in texts.items():
        if _TYPES[name] == "float":
            values[name] = float(text) if text else math.nan
        elif _TYPES[name] == "int":
            values[name] = int(text)
    return Row(**values)
