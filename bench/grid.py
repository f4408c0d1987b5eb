"""The measured rows as a grid to look things up in: what tables and plots are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.contenders import contenders
from bench.masks import PATTERNS
from bench.nets import NETS
from bench.results import Cell, Row

OWN = "sparseagent-"
AUTO, CSR, DENSE = f"{OWN}auto", f"{OWN}csr", f"{OWN}dense"


@dataclass(frozen=True, eq=False)
class Grid:
    """The latest measurement of every cell, for one instruction set of ours.

    Attributes:
        cells: rows by contender for each cell.
        isa: the instruction set.
    """

    cells: Mapping[Cell, Mapping[str, Row]]
    isa: str

    @classmethod
    def of(cls, cells: Mapping[Cell, Mapping[str, Row]], isa: str | None) -> Grid:
        """The cells of `isa`, or of the one with the most cells if None.

        Raises:
            ValueError: there is no such cell.
        """
        counts: dict[str, int] = {}
        for cell in cells:
            counts[cell.isa] = counts.get(cell.isa, 0) + 1
        if not counts or (isa is not None and isa not in counts):
            raise ValueError(f"isa: expected one of {sorted(counts)}, got {isa}")
        chosen = isa or max(counts, key=lambda name: counts[name])
        return cls({cell: rows for cell, rows in cells.items() if cell.isa == chosen}, chosen)

    @property
    def rows(self) -> list[Row]:
        """Every row, in order of measurement."""
        return [row for rows in self.cells.values() for row in rows.values()]

    @property
    def nets(self) -> list[tuple[str, str]]:
        """`(net, source)` pairs: the reference nets by kind of mask, then policy files by name."""
        found = {(cell.net, cell.source) for cell in self.cells}
        every = [(net, source) for source in PATTERNS for net in NETS]
        reference = [pair for pair in every if pair in found]
        return reference + sorted(found - set(reference))

    def sparsities(self, net: str, source: str) -> list[float]:
        """The sparsities measured for a net, ascending."""
        return sorted({c.sparsity for c in self.cells if (c.net, c.source) == (net, source)})

    def batches(self, net: str, source: str) -> list[int]:
        """The batch sizes measured for a net, ascending."""
        return sorted({c.batch for c in self.cells if (c.net, c.source) == (net, source)})

    def contenders(self) -> list[str]:
        """The contenders that have rows, ours first."""
        there = {row.contender for row in self.rows}
        known = [name for name in contenders() if name in there]
        return known + sorted(there - set(known))

    def cell(self, net: str, source: str, sparsity: float, batch: int) -> Mapping[str, Row]:
        """The rows of a cell by contender; empty if it was not measured."""
        return self.cells.get(Cell(net, source, sparsity, batch, self.isa), {})


def p50(rows: Mapping[str, Row], contender: str) -> float:
    """Median ns of a call, NaN where there is no time."""
    row = rows.get(contender)
    return row.p50_ns if row is not None and row.ok else math.nan


def best_peer(rows: Mapping[str, Row], *, dense_only: bool = False) -> Row | None:
    """The fastest of the peers, dense or sparse; None if no peer has a time.

    With `dense_only` peers that multiply by the nonzeros alone do not count.
    """
    peers = [row for name, row in rows.items() if row.ok and not name.startswith(OWN)]
    if dense_only:
        dense = {name for name, contender in contenders().items() if contender.stores == "all"}
        peers = [row for row in peers if row.contender in dense]
    return min(peers, key=lambda row: row.p50_ns, default=None)


def best_sparse(rows: Mapping[str, Row]) -> Row | None:
    """The fastest of our sparse formats that were forced; None if none has a time."""
    own = [
        row
        for name, row in rows.items()
        if row.ok and name.startswith(OWN) and name not in (AUTO, DENSE)
    ]
    return min(own, key=lambda row: row.p50_ns, default=None)


def crossover(grid: Grid, net: str, source: str, batch: int) -> float:
    """The sparsity from which the best sparse format is faster than our dense, in [0, 1).

    Interpolated on the logarithm of the ratio between the last measured sparsity at which dense
    wins and the next; 0 if sparse always wins, NaN if it never does.
    """
    points: list[tuple[float, float]] = []
    for sparsity in grid.sparsities(net, source):
        rows = grid.cell(net, source, sparsity, batch)
        sparse = best_sparse(rows)
        ratio = sparse.p50_ns / p50(rows, DENSE) if sparse is not None else math.nan
        if not math.isnan(ratio):
            points.append((sparsity, math.log(ratio)))
    lost = [number for number, (_, log_ratio) in enumerate(points) if log_ratio > 0]
    if not lost:
        return 0.0 if points else math.nan
    if lost[-1] == len(points) - 1:
        return math.nan
    (before, above), (after, below) = points[lost[-1]], points[lost[-1] + 1]
    return before + (after - before) * above / (above - below)


def spread(values: Sequence[float]) -> str:
    """`3.1 to 4.7`, or one number where all agree to two digits."""
    low, high = min(values), max(values)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
