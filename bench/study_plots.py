"""The figures of the single studies, PNG, drawn from their CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.grid import AUTO, DENSE, Grid, best_sparse, p50
from bench.plots import PLAIN, logarithmic, panels, save, shades, style
from bench.sheet import note

Rows = Sequence[Mapping[str, str]]


def draw_tails(rows: Rows, folder: Path) -> Path:
    """Ns per observation at every batch size; red where one more costs more than 15 %."""

    def draw(axes: Any, net: str) -> None:
        own = [row for row in rows if row["net"] == net]
        batches = [int(row["batch"]) for row in own]
        times = [float(row["ns_per_observation"]) for row in own]
        axes.plot(batches, times, label="plan's choice", **{**style(AUTO), "markersize": 2.5})
        cliffs = [
            place
            for place, row in enumerate(own)
            if batches[place] > 16 and row["rise"] and float(row["rise"]) > 0.15
        ]
        axes.plot(
            [batches[place] for place in cliffs],
            [times[place] for place in cliffs],
            "x",
            color="#1b1b1b",
            zorder=6,
            label="rises by more than 15 %",
        )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        logarithmic(axes)
        axes.set_xlabel("batch size")

    title = f"Time per observation at every batch size, sparsity {rows[0]['sparsity']}, one thread"
    figure = panels(_nets(rows), draw, title, "ns per observation", note(rows))
    return save(figure, folder / "tails.png")


def draw_jitter(rows: Rows, folder: Path) -> Path:
    """Median to p99.9 of every contender, warm and cold."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    modes = list(dict.fromkeys(row["mode"] for row in rows))

    def draw(axes: Any, net: str) -> None:
        for row in rows:
            if row["net"] != net or not row["p99_ns"]:
                continue
            place = names.index(row["contender"]) + 0.3 * modes.index(row["mode"])
            colour = style(row["contender"])["color"]
            tail = [float(row[key]) / 1e3 for key in ("p50_ns", "p99_ns", "p999_ns") if row[key]]
            axes.plot([place, place], [tail[0], tail[-1]], color=colour, linewidth=2.0)
            for marker, value in zip("o_^", tail, strict=False):
                axes.plot(place, value, marker, color=colour, markersize=6)
        axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
        logarithmic(axes)

    title = (
        f"One call, sparsity {rows[0]['sparsity']}: median (o), p99 (-), p99.9 (^); "
        f"left to right: {', '.join(modes)}"
    )
    figure = panels(_nets(rows), draw, title, "µs per call", note(rows))
    return save(figure, folder / "jitter.png")


def draw_tick(rows: Rows, folder: Path) -> Path:
    """Median to p99.9 of one call in a control loop, every way beside the tight loop."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    ways = list(dict.fromkeys(row["way"] for row in rows))
    scheduler, work = rows[-1]["scheduler"], rows[0]["work"]

    def draw(axes: Any, net: str) -> None:
        for row in rows:
            if (row["net"], row["scheduler"], row["work"]) != (net, scheduler, work):
                continue
            place = names.index(row["contender"]) + 0.2 * ways.index(row["way"])
            colour = style(row["contender"])["color"]
            tail = [float(row[key]) / 1e3 for key in ("p50_ns", "p99_ns", "p999_ns") if row[key]]
            axes.plot([place, place], [tail[0], tail[-1]], color=colour, linewidth=2.0)
            for marker, value in zip("o_^", tail, strict=False):
                axes.plot(place, value, marker, color=colour, markersize=5)
        axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
        logarithmic(axes)

    title = (
        f"One call at 1 kHz, sparsity {rows[0]['sparsity']}, scheduler {scheduler}: median (o), "
        f"p99 (-), p99.9 (^); left to right: {', '.join(ways)}"
    )
    figure = panels(_nets(rows), draw, title, "µs per call", note(rows))
    return save(figure, folder / "tick.png")


def draw_threads(rows: Rows, folder: Path) -> Path:
    """Speed of two threads against one over batch size."""

    def draw(axes: Any, net: str) -> None:
        own = [row for row in rows if row["net"] == net]
        places = range(len(own))
        speedups = [float(row["speedup"]) for row in own]
        axes.plot(places, speedups, label="two threads against one", **style(AUTO))
        axes.axhline(1.0, color="#1b1b1b", linewidth=0.8)
        axes.set_xticks(places, [row["batch"] for row in own], fontsize=8)
        axes.set_ylim(0, 2.1)
        axes.set_xlabel("batch size")

    title = f"What a second thread gains, sparsity {rows[0]['sparsity']}"
    figure = panels(_nets(rows), draw, title, "times faster", note(rows))
    return save(figure, folder / "threads.png")


def draw_crossover(grid: Grid, folder: Path) -> Path:
    """Speed of the plan's choice and of the best sparse format against our dense."""
    nets = [net for net, source in grid.nets if source == "random"]
    colours = shades(cell.batch for cell in grid.cells)

    def draw(axes: Any, net: str) -> None:
        sparsities = grid.sparsities(net, "random")
        for batch in grid.batches(net, "random"):
            cells = [grid.cell(net, "random", sparsity, batch) for sparsity in sparsities]
            best = [best_sparse(rows) for rows in cells]
            sparse = [
                p50(rows, DENSE) / row.p50_ns if row is not None else float("nan")
                for rows, row in zip(cells, best, strict=True)
            ]
            auto = [p50(rows, DENSE) / p50(rows, AUTO) for rows in cells]
            line = {"color": colours[batch], **PLAIN}
            axes.plot(sparsities, auto, label=f"plan's choice, B={batch}", marker="o", **line)
            axes.plot(sparsities, sparse, "--", label=f"best sparse, B={batch}", **line)
        axes.axhline(1.0, color="#1b1b1b", linewidth=0.8)
        logarithmic(axes)
        axes.set_xlabel("sparsity (fraction of zeros)")

    title = "Against our dense: above the line it is faster"
    origin = " / ".join(dict.fromkeys(f"{row.cpu}; {row.isa}" for row in grid.rows))
    return save(panels(nets, draw, title, "times faster", origin), folder / "crossover.png")


def _nets(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["net"] for row in rows))
