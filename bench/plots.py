"""The report's figures, PNG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.grid import AUTO, CSR, DENSE, Grid, p50
from bench.nets import NETS

#: Ours in warm colours and thick lines, peers cool and thin: dense round, sparse square markers.
STYLES: dict[str, dict[str, Any]] = {
    AUTO: {"color": "#c81e1e", "linewidth": 2.8, "marker": "o", "zorder": 5},
    CSR: {"color": "#f08c1d", "linewidth": 1.8, "marker": "s", "linestyle": "--", "zorder": 4},
    DENSE: {"color": "#8a5a44", "linewidth": 1.8, "marker": "o", "linestyle": "--", "zorder": 4},
    "numpy": {"color": "#4c78a8", "marker": "o"},
    "torch-eager": {"color": "#72b7b2", "marker": "o"},
    "torch-compile": {"color": "#2f7f79", "marker": "o"},
    "torch-onednn": {"color": "#9ecae9", "marker": "o"},
    "onnxruntime": {"color": "#54a24b", "marker": "o"},
    "litert": {"color": "#1b1b1b", "marker": "o"},
    "scipy-csr": {"color": "#b279a2", "marker": "s"},
    "torch-csr": {"color": "#7b5ea7", "marker": "s"},
}
PLAIN = {"linewidth": 1.1, "markersize": 4.0}
Draw = Callable[[Any, str], None]


def draw_all(grid: Grid, folder: Path) -> list[Path]:
    """Every figure for which there are cells; returns their paths."""
    nets = [net for net, source in grid.nets if source == "random"]
    if not nets:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Callable[[], Any]] = {
        "latency_batch1.png": lambda: latency(grid, nets),
        "ns_per_observation.png": lambda: per_observation(grid, nets),
        "peak_share.png": lambda: peak_share(grid, nets),
        "speedup_over_dense.png": lambda: speedup(grid, nets),
    }
    paths = []
    for name, make in figures.items():
        figure = make()
        figure.savefig(folder / name, dpi=150)
        _pyplot().close(figure)
        paths.append(folder / name)
    return paths


def latency(grid: Grid, nets: Sequence[str], batch: int = 1) -> Any:
    """Median time of a call over sparsity, one panel per net, all contenders."""

    def draw(axes: Any, net: str) -> None:
        sparsities = grid.sparsities(net, "random")
        for name in grid.contenders():
            values = [
                p50(grid.cell(net, "random", sparsity, batch), name) / 1000
                for sparsity in sparsities
            ]
            axes.plot(range(len(sparsities)), values, label=name, **_style(name))
        axes.set_xticks(range(len(sparsities)), [f"{sparsity:g}" for sparsity in sparsities])
        _logarithmic(axes)
        axes.set_xlabel("sparsity (fraction of zeros)")

    title = f"Time of one policy call from Python, batch {batch}, one thread (median)"
    return _panels(grid, nets, draw, title, "µs per call")


def per_observation(grid: Grid, nets: Sequence[str], sparsity: float = 0.9) -> Any:
    """Ns per observation over batch size at one sparsity, all contenders."""

    def draw(axes: Any, net: str) -> None:
        batches = grid.batches(net, "random")
        for name in grid.contenders():
            values = [
                p50(grid.cell(net, "random", sparsity, batch), name) / batch for batch in batches
            ]
            axes.plot(range(len(batches)), values, label=name, **_style(name))
        axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
        _logarithmic(axes)
        axes.set_xlabel("batch size")

    title = f"Time per observation at sparsity {sparsity:g}, one thread (median)"
    return _panels(grid, nets, draw, title, "ns per observation")


def peak_share(grid: Grid, nets: Sequence[str]) -> Any:
    """Share of the FMA peak over batch size: CSR on its nonzeros, dense on all weights."""
    shades = _shades(cell.sparsity for cell in grid.cells if cell.sparsity > 0)

    def draw(axes: Any, net: str) -> None:
        batches = grid.batches(net, "random")
        places = range(len(batches))
        for sparsity in grid.sparsities(net, "random"):
            if sparsity == 0:
                continue
            values = [_share(grid, net, sparsity, batch, CSR) for batch in batches]
            style = {"color": shades[sparsity], "marker": "s", **PLAIN}
            axes.plot(places, values, label=f"CSR {sparsity:g}", **style)
        first = grid.sparsities(net, "random")[0]
        values = [_share(grid, net, first, batch, DENSE) for batch in batches]
        style = {"color": "#1b1b1b", "marker": "o", "linestyle": "--", **PLAIN}
        axes.plot(places, values, label="dense, all weights", **style)
        axes.set_xticks(places, [str(batch) for batch in batches])
        axes.set_ylim(0, 100)
        axes.set_xlabel("batch size")

    title = "Share of the core's FMA peak that our kernels reach, call included"
    return _panels(grid, nets, draw, title, "% of FMA peak")


def speedup(grid: Grid, nets: Sequence[str]) -> Any:
    """How many times faster CSR is than our dense over sparsity, a line per batch size."""
    shades = _shades(cell.batch for cell in grid.cells)

    def draw(axes: Any, net: str) -> None:
        sparsities = grid.sparsities(net, "random")
        for batch in grid.batches(net, "random"):
            cells = [grid.cell(net, "random", sparsity, batch) for sparsity in sparsities]
            values = [p50(rows, DENSE) / p50(rows, CSR) for rows in cells]
            places = range(len(sparsities))
            style = {"color": shades[batch], "marker": "s", **PLAIN}
            axes.plot(places, values, label=f"B={batch}", **style)
        axes.axhline(1.0, color="#1b1b1b", linewidth=0.8)
        axes.set_xticks(range(len(sparsities)), [f"{sparsity:g}" for sparsity in sparsities])
        _logarithmic(axes)
        axes.set_xlabel("sparsity (fraction of zeros)")

    title = "Our CSR against our dense: above the line CSR is faster"
    return _panels(grid, nets, draw, title, "times faster")


def _share(grid: Grid, net: str, sparsity: float, batch: int, contender: str) -> float:
    row = grid.cell(net, "random", sparsity, batch).get(contender)
    return 100 * row.peak_share_stored if row is not None and row.ok else math.nan


def _panels(grid: Grid, nets: Sequence[str], draw: Draw, title: str, ylabel: str) -> Any:
    """One panel per net, two in a row, one legend for all on the right."""
    plt = _pyplot()
    columns = min(2, len(nets))
    lines = math.ceil(len(nets) / columns)
    size = (4.2 * columns + 1.9, 3.1 * lines + 0.9)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for panel in axes.flat[len(nets) :]:
        panel.set_visible(False)
    entries: dict[str, Any] = {}
    for panel, net in zip(axes.flat, nets, strict=False):
        draw(panel, net)
        panel.set_title(NETS[net].label, fontsize=10)
        panel.set_ylabel(ylabel)
        panel.grid(True, which="major", color="#dddddd", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
        handles, labels = panel.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    figure.legend(
        entries.values(), entries.keys(), loc="outside right upper", frameon=False, fontsize=9
    )
    cpu = " / ".join(dict.fromkeys(row.cpu for row in grid.rows))
    figure.suptitle(f"{title}\n{cpu}; {grid.isa}", fontsize=11)
    return figure


def _style(contender: str) -> dict[str, Any]:
    return {**PLAIN, **STYLES.get(contender, {"color": "#999999", "marker": "^"})}


def _shades(values: Iterable[float]) -> dict[float, Any]:
    """A colour for each distinct value, dark to light, the same in every panel."""
    colours = _pyplot().get_cmap("plasma")
    distinct = sorted(set(values))
    step = 0.85 / max(1, len(distinct) - 1)
    return {value: colours(step * number) for number, value in enumerate(distinct)}


def _logarithmic(axes: Any) -> None:
    """A logarithmic y axis with plain numbers at 1, 2 and 5 of every decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
