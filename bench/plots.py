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
    "openvino": {"color": "#b5cf6b", "marker": "o"},
    "litert": {"color": "#1b1b1b", "marker": "o"},
    "scipy-csr": {"color": "#b279a2", "marker": "s"},
    "torch-csr": {"color": "#7b5ea7", "marker": "s"},
    "numba-csr": {"color": "#d67195", "marker": "s"},
}
PLAIN = {"linewidth": 1.1, "markersize": 4.0}
Draw = Callable[[Any, str], None]


def draw_all(grid: Grid, folder: Path) -> list[Path]:
    """Every figure for which there are cells; returns their paths."""
    nets = [net for net, source in grid.nets if source == "random"]
    if not nets:
        return []
    figures: dict[str, Callable[[], Any]] = {
        "latency_batch1.png": lambda: latency(grid, nets),
        "ns_per_observation.png": lambda: per_observation(grid, nets),
        "peak_share.png": lambda: peak_share(grid, nets),
        "speedup_over_dense.png": lambda: speedup(grid, nets),
    }
    paths = []
    for name, make in figures.items():
        paths.append(save(make(), folder / name))
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
            axes.plot(range(len(sparsities)), values, label=name, **style(name))
        axes.set_xticks(range(len(sparsities)), [f"{sparsity:g}" for sparsity in sparsities])
        logarithmic(axes)
        axes.set_xlabel("sparsity (fraction of zeros)")

    title = f"Time of one policy call from Python, batch {batch}, one thread (median)"
    return _of_grid(grid, nets, draw, title, "µs per call")


def per_observation(grid: Grid, nets: Sequence[str], sparsity: float = 0.9) -> Any:
    """Ns per observation over batch size at one sparsity, all contenders."""

    def draw(axes: Any, net: str) -> None:
        batches = grid.batches(net, "random")
        for name in grid.contenders():
            values = [
                p50(grid.cell(net, "random", sparsity, batch), name) / batch for batch in batches
            ]
            axes.plot(range(len(batches)), values, label=name, **style(name))
        axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
        logarithmic(axes)
        axes.set_xlabel("batch size")

    title = f"Time per observation at sparsity {sparsity:g}, one thread (median)"
    return _of_grid(grid, nets, draw, title, "ns per observation")


def peak_share(grid: Grid, nets: Sequence[str]) -> Any:
    """Share of the FMA peak over batch size: the plan's choice on the nonzeros, dense on all."""
    colours = shades(cell.sparsity for cell in grid.cells if cell.sparsity > 0)

    def draw(axes: Any, net: str) -> None:
        batches = grid.batches(net, "random")
        places = range(len(batches))
        for sparsity in grid.sparsities(net, "random"):
            if sparsity == 0:
                continue
            values = [_share(grid, net, sparsity, batch, AUTO) for batch in batches]
            line = {"color": colours[sparsity], "marker": "s", **PLAIN}
            axes.plot(places, values, label=f"sparse {sparsity:g}", **line)
        first = grid.sparsities(net, "random")[0]
        values = [_share(grid, net, first, batch, DENSE) for batch in batches]
        line = {"color": "#1b1b1b", "marker": "o", "linestyle": "--", **PLAIN}
        axes.plot(places, values, label="dense, all weights", **line)
        axes.set_xticks(places, [str(batch) for batch in batches])
        axes.set_ylim(0, 100)
        axes.set_xlabel("batch size")

    title = "Share of the core's FMA peak that our kernels reach, call included"
    return _of_grid(grid, nets, draw, title, "% of FMA peak")


def speedup(grid: Grid, nets: Sequence[str]) -> Any:
    """How many times faster the plan's choice is than our dense, a line per batch size."""
    colours = shades(cell.batch for cell in grid.cells)

    def draw(axes: Any, net: str) -> None:
        sparsities = grid.sparsities(net, "random")
        for batch in grid.batches(net, "random"):
            cells = [grid.cell(net, "random", sparsity, batch) for sparsity in sparsities]
            values = [p50(rows, DENSE) / p50(rows, AUTO) for rows in cells]
            places = range(len(sparsities))
            line = {"color": colours[batch], "marker": "s", **PLAIN}
            axes.plot(places, values, label=f"B={batch}", **line)
        axes.axhline(1.0, color="#1b1b1b", linewidth=0.8)
        axes.set_xticks(range(len(sparsities)), [f"{sparsity:g}" for sparsity in sparsities])
        logarithmic(axes)
        axes.set_xlabel("sparsity (fraction of zeros)")

    title = "The plan's choice against our dense: above the line it is faster"
    return _of_grid(grid, nets, draw, title, "times faster")


def _share(grid: Grid, net: str, sparsity: float, batch: int, contender: str) -> float:
    row = grid.cell(net, "random", sparsity, batch).get(contender)
    return 100 * row.peak_share_stored if row is not None and row.ok else math.nan


def panels(keys: Sequence[str], draw: Draw, title: str, ylabel: str, note: str) -> Any:
    """One panel per net, two in a row, one legend for all on the right; `note` under the title."""
    plt = pyplot()
    columns = min(2, len(keys))
    lines = math.ceil(len(keys) / columns)
    size = (4.2 * columns + 1.9, 3.1 * lines + 0.9)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for panel in axes.flat[len(keys) :]:
        panel.set_visible(False)
    entries: dict[str, Any] = {}
    for panel, key in zip(axes.flat, keys, strict=False):
        draw(panel, key)
        panel.set_title(NETS[key].label, fontsize=10)
        panel.set_ylabel(ylabel)
        panel.grid(True, which="major", color="#dddddd", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
        handles, labels = panel.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    figure.legend(
        entries.values(), entries.keys(), loc="outside right center", frameon=False, fontsize=9
    )
    figure.suptitle(f"{title}\n{note}", fontsize=11)
    return figure


def save(figure: Any, path: Path) -> Path:
    """Write the figure and forget it; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot().close(figure)
    return path


def _of_grid(grid: Grid, nets: Sequence[str], draw: Draw, title: str, ylabel: str) -> Any:
    cpu = " / ".join(dict.fromkeys(row.cpu for row in grid.rows))
    return panels(nets, draw, title, ylabel, f"{cpu}; {grid.isa}")


def style(contender: str) -> dict[str, Any]:
    """Line and marker of a contender, the same in every figure."""
    return {**PLAIN, **STYLES.get(contender, {"color": "#999999", "marker": "^"})}


def shades(values: Iterable[float]) -> dict[float, Any]:
    """A colour for each distinct value, dark to light, the same in every panel."""
    colours = pyplot().get_cmap("plasma")
    distinct = sorted(set(values))
    step = 0.85 / max(1, len(distinct) - 1)
    return {value: colours(step * number) for number, value in enumerate(distinct)}


def logarithmic(axes: Any) -> None:
    """A logarithmic y axis with plain numbers at 1, 2 and 5 of every decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def pyplot() -> Any:
    """matplotlib.pyplot without a screen."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
