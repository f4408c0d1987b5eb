"""The report's tables, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bench.grid import AUTO, DENSE, Grid, best_peer, crossover, p50, spread
from bench.masks import PATTERNS
from bench.nets import NETS

#: The plan promises to be at most this much slower than dense.
DENSE_TOLERANCE = 1.05


def summary(grid: Grid, sparsity: float = 0.9) -> str:
    """The README's table: median us of one call at batch 1, a line per contender, bold the best."""
    nets = [pair for pair in grid.nets if grid.cell(*pair, sparsity, 1)]
    if not nets:
        return ""
    columns = [_times(grid, *pair, sparsity, 1) for pair in nets]
    head = [f"us per call, B=1, sparsity {sparsity:g}", *(_label(*pair) for pair in nets)]
    lines = [[name, *(column.get(name, "-") for column in columns)] for name in grid.contenders()]
    return table(head, lines)


def speedups(grid: Grid) -> str:
    """How many times faster `auto` is than our dense and than the best peer of any kind."""
    parts = []
    for net, source in grid.nets:
        sparsities = grid.sparsities(net, source)
        lines = []
        for batch in grid.batches(net, source):
            texts = [_speedup(grid, net, source, sparsity, batch) for sparsity in sparsities]
            lines.append([f"B={batch}", *texts])
        head = [_label(net, source), *(f"{sparsity:g}" for sparsity in sparsities)]
        parts.append(table(head, lines))
    return "\n\n".join(parts)


def losses(grid: Grid) -> str:
    """Every cell in which a peer is faster than `auto`, or `auto` slower than our dense."""
    lines = []
    for cell, rows in sorted(grid.cells.items()):
        own, dense, peer = p50(rows, AUTO), p50(rows, DENSE), best_peer(rows)
        mask = "" if cell.source == "random" else f" {cell.source}"
        where = f"{cell.net}{mask}, sparsity {cell.sparsity:g}, B={cell.batch}"
        if peer is not None and peer.p50_ns < own:
            lines.append(
                f"- {where}: {peer.contender} {_us(peer.p50_ns)} us, ours {_us(own)} us "
                f"({peer.p50_ns / own:.2f}x)"
            )
        if own > DENSE_TOLERANCE * dense:
            lines.append(
                f"- {where}: the plan's choice {_us(own)} us, our dense {_us(dense)} us "
                f"({dense / own:.2f}x)"
            )
    return "\n".join(lines) or f"Nowhere in these {len(grid.cells)} cells."


def crossovers(grid: Grid) -> str:
    """From which sparsity on a sparse format is faster than our dense, per net and batch size."""
    batches = sorted({cell.batch for cell in grid.cells})
    lines = []
    for net, source in grid.nets:
        if len(grid.sparsities(net, source)) < 2:
            continue
        found = [crossover(grid, net, source, batch) for batch in batches]
        lines.append([_label(net, source), *("-" if math.isnan(x) else f"{x:.2f}" for x in found)])
    if not lines:
        return "Needs two sparsities of a net."
    return table(["sparse wins from", *(f"B={batch}" for batch in batches)], lines)


def peak_shares(grid: Grid) -> str:
    """GFLOP/s on nonzeros and share of the FMA peak; dense counts all its weights."""
    lines = []
    for net, source in grid.nets:
        for batch in grid.batches(net, source):
            cells = [(s, grid.cell(net, source, s, batch)) for s in grid.sparsities(net, source)]
            sparse = {s: rows[AUTO] for s, rows in cells if AUTO in rows and rows[AUTO].ok}
            dense = [rows[DENSE] for _, rows in cells if DENSE in rows and rows[DENSE].ok]
            texts = [f"{row.gflops:.0f} ({row.peak_share:.0%})" for row in sparse.values()]
            best = max((row.peak_share_stored for row in dense), default=math.nan)
            name = net if source == "random" else f"{net} {source}"
            lines.append((tuple(sparse), [name, str(batch), *texts, f"{best:.0%}"]))
    parts = []
    for sparsities in dict.fromkeys(found for found, _ in lines):
        head = ["net", "B", *(f"sparse {s:g}" for s in sparsities), "dense, all weights"]
        parts.append(table(head, [line for found, line in lines if found == sparsities]))
    return "\n\n".join(parts)


def all_times(grid: Grid) -> str:
    """Median us of a call for every contender; bold the fastest; p99 in brackets."""
    parts = []
    for net, source in grid.nets:
        sparsities = grid.sparsities(net, source)
        for batch in grid.batches(net, source):
            columns = [_times(grid, net, source, s, batch, p99=True) for s in sparsities]
            mask = "" if source == "random" else f" {source}"
            head = [f"{net}{mask}, B={batch}", *(f"{s:g}" for s in sparsities)]
            lines = [
                [name, *(column.get(name, "-") for column in columns)] for name in grid.contenders()
            ]
            parts.append(table(head, lines))
    return "\n\n".join(parts)


def without_time(grid: Grid) -> str:
    """Which contender has no time where, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell, rows in grid.cells.items():
        for name, row in rows.items():
            if not row.ok:
                where = f"{cell.net} {cell.source} {cell.sparsity:g} B={cell.batch}"
                reasons.setdefault((name, row.status), []).append(where)
    lines = [
        f"- {name}: {status} ({len(places)} cells: {', '.join(places[:4])}"
        f"{', ...' if len(places) > 4 else ''})"
        for (name, status), places in reasons.items()
    ]
    return "\n".join(lines) or "Every contender passed its check everywhere."


def facts(grid: Grid) -> str:
    """Where and with what the rows were measured."""
    rows = grid.rows
    peaks = spread([row.peak_gflops for row in rows])
    versions = {row.contender: row.version for row in rows if row.version}
    lines = [
        f"- CPU: {_each(row.cpu for row in rows)}; {_each(row.kernel for row in rows)}; "
        f"Python {_each(row.python for row in rows)}; one thread on core "
        f"{_each(str(row.core) for row in rows)}",
        f"- FMA peak of the core ({grid.isa}), measured in every cell: {peaks} GFLOP/s",
        f"- Load average during the run: {spread([row.load for row in rows])}",
        f"- Commit {_each(row.commit for row in rows)}; kernels: "
        f"{_each(row.flags for row in rows)}",
        f"- Largest error against float64, relative to the largest output: "
        f"{max((row.error for row in rows if row.ok), default=math.nan):.1e}",
        *(f"- {name}: {version}" for name, version in versions.items()),
    ]
    return "\n".join(lines)


def _speedup(grid: Grid, net: str, source: str, sparsity: float, batch: int) -> str:
    rows = grid.cell(net, source, sparsity, batch)
    own, peer = p50(rows, AUTO), best_peer(rows)
    if math.isnan(own):
        return "-"
    dense = p50(rows, DENSE) / own
    text = "-" if math.isnan(dense) else f"{dense:.2f}x"
    return f"{text}, {peer.p50_ns / own:.2f}x {peer.contender}" if peer is not None else text


def _times(
    grid: Grid, net: str, source: str, sparsity: float, batch: int, *, p99: bool = False
) -> dict[str, str]:
    rows = grid.cell(net, source, sparsity, batch)
    timed = {name: row for name, row in rows.items() if row.ok}
    fastest = min((row.p50_ns for row in timed.values()), default=math.nan)
    texts = {}
    for name, row in timed.items():
        text = f"**{_us(row.p50_ns)}**" if row.p50_ns == fastest else _us(row.p50_ns)
        tail = f" ({_us(row.p99_ns)})" if p99 and not math.isnan(row.p99_ns) else ""
        texts[name] = text + tail
    return texts


def _us(nanoseconds: float) -> str:
    """Microseconds with three significant digits."""
    us = nanoseconds / 1000
    return f"{us:.{max(0, 2 - math.floor(math.log10(us)))}f}" if us > 0 else "0"


def _label(net: str, source: str) -> str:
    if source not in PATTERNS or net not in NETS:
        return f"{net} (trained)"
    mask = "" if source == "random" else f", {PATTERNS[source].label}"
    return NETS[net].label + mask


def _each(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(values))


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set to the right."""
    marks = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *lines))
