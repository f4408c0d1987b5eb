"""The figures of a report: one function, one PNG.

matplotlib is loaded inside the functions and only through its object interface: no pyplot, no
display, no global state. Colours are those of Okabe and Ito (2008), which colour-blind readers
can tell apart; line styles and direct labels carry the same information.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparseagent.report.latency import Latency
from sparseagent.report.table import format_ns, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Curve",
    "ReturnBar",
    "Schedule",
    "latency_bars",
    "learning_curve",
    "return_bars",
    "sparsity_per_layer",
]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINE_STYLES = ("-", "--", "-.", ":")
_INK, _QUIET, _GRID = "#222222", "#666666", "#DDDDDD"
_WIDTH = 7.0  # inches
_DPI = 160


class Curve(NamedTuple):
    """A learning curve: `returns [n]` measured after `timesteps [n]` environment steps."""

    label: str
    timesteps: npt.ArrayLike
    returns: npt.ArrayLike


class Schedule(NamedTuple):
    """The `sparsity [n]` in [0, 1] that held at `timesteps [n]`."""

    timesteps: npt.ArrayLike
    sparsity: npt.ArrayLike


class ReturnBar(NamedTuple):
    """A return with its interval, `low <= value <= high`."""

    label: str
    value: float
    low: float
    high: float


def learning_curve(
    curves: Sequence[Curve],
    path: str | Path,
    *,
    schedule: Schedule | None = None,
    title: str = "Learning curves",
) -> Path:
    """Plot returns over training, the sparsity schedule beneath on the same time axis.

    Args:
        curves: At least one; plain tuples (label, timesteps, returns) do as well.
        path: The PNG to write; missing folders are made.
        schedule: Sparsity over time, or None for no second axis.
        title: Title of the figure.

    Returns:
        `path`.

    Raises:
        ValueError: There is no curve, or lengths differ within one.
    """
    _require("curves", curves)
    figure = _figure(4.6 if schedule else 3.8)
    if schedule is None:
        axes, below = figure.subplots(), None
    else:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for index, curve in enumerate(curves):
        x, y = _pair(f"curves[{index}]", curve[1], curve[2])
        style = _LINE_STYLES[index % len(_LINE_STYLES)]
        colour = _COLOURS[index % len(_COLOURS)]
        marker = "o" if len(x) == 1 else None  # a line through one point is invisible
        axes.plot(x, y, style, color=colour, label=curve[0], linewidth=1.8, marker=marker)
    _style(axes, title, grid="y")
    axes.set_ylabel("return per episode")
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    last = axes
    if schedule is not None and below is not None:
        x, y = _pair("schedule", *schedule)
        below.plot(x, y, color=_INK, linewidth=1.8)
        below.set_ylim(0.0, 1.0)
        below.set_ylabel("sparsity")
        _style(below, None, grid="y")
        below.annotate(
            f"{y[-1]:.3g}",
            (x[-1], y[-1]),
            textcoords="offset points",
            xytext=(-2, -4 if y[-1] > 0.5 else 4),
            ha="right",
            va="top" if y[-1] > 0.5 else "bottom",
            color=_INK,
            fontsize=9,
        )
        figure.align_ylabels()
        last = below
    last.set_xlabel("environment steps")
    last.xaxis.set_major_formatter(_engineering())
    return _save(figure, path)


def return_bars(
    groups: Sequence[ReturnBar],
    path: str | Path,
    *,
    title: str = "Return of each agent",
    ylabel: str = "return (IQM, 95 % interval)",
) -> Path:
    """Plot a return with its interval for each agent.

    Args:
        groups: At least one; plain tuples (label, value, low, high) do as well.
        path: The PNG to write.
        title: Title of the figure.
        ylabel: What the bars and their intervals are.

    Returns:
        `path`.

    Raises:
        ValueError: There is no group, or a value lies outside its interval.
    """
    _require("groups", groups)
    for label, value, low, high in groups:
        if not low <= value <= high:
            raise ValueError(
                f"groups: {label!r} needs low <= value <= high, got {low, value, high}"
            )
    figure = _figure(3.8)
    axes = figure.subplots()
    values = np.array([group[1] for group in groups])
    spread = np.array([(value - low, high - value) for _, value, low, high in groups]).T
    axes.bar(
        range(len(groups)),
        values,
        width=0.55,
        color=[_COLOURS[k % len(_COLOURS)] for k in range(len(groups))],
        yerr=spread,
        error_kw={"ecolor": _INK, "elinewidth": 1.4, "capsize": 5, "capthick": 1.4},
    )
    for index, (_, value, low, high) in enumerate(groups):
        above = value >= 0
        axes.annotate(
            format_number(float(value), 4).replace("-", "\N{MINUS SIGN}"),
            (index, high if above else low),
            textcoords="offset points",
            xytext=(0, 5 if above else -5),
            ha="center",
            va="bottom" if above else "top",
            color=_INK,
            fontsize=10,
        )
    _style(axes, title, grid="y")
    axes.spines["bottom"].set_visible(False)
    axes.axhline(0.0, color=_INK, linewidth=0.9)
    axes.margins(y=0.14)
    axes.set_xlim(-0.7, len(groups) - 0.3)
    axes.set_xticks(range(len(groups)), [group[0] for group in groups])
    axes.tick_params(axis="x", length=0, labelsize=10)
    axes.set_ylabel(ylabel)
    return _save(figure, path)


def latency_bars(
    latencies: Sequence[Latency], path: str | Path, *, title: str = "Latency of one call"
) -> Path:
    """Plot a bar from p50 to p99 for each candidate, on a logarithmic time axis.

    A bar from zero would have no meaning on this axis; the ends are what is measured.

    Args:
        latencies: At least one, first at the top.
        path: The PNG to write.
        title: Title of the figure.

    Returns:
        `path`.

    Raises:
        ValueError: There is none, or a time is not positive.
    """
    _require("latencies", latencies)
    for latency in latencies:
        if not 0 < latency.p50_ns <= latency.p99_ns:
            raise ValueError(f"latencies need 0 < p50 <= p99, got {latency}")
    figure = _figure(1.5 + 0.52 * len(latencies))
    axes = figure.subplots()
    rows = np.arange(len(latencies))
    p50 = np.array([latency.p50_ns for latency in latencies])
    p99 = np.array([latency.p99_ns for latency in latencies])
    axes.hlines(rows, p50, p99, color=_COLOURS[5], linewidth=6, zorder=1)
    axes.plot(p50, rows, "o", color=_COLOURS[0], markersize=8, label="p50 (median)", zorder=2)
    axes.plot(p99, rows, "D", color=_COLOURS[1], markersize=6, label="p99", zorder=2)
    for row, latency in zip(rows, latencies, strict=True):
        for value, shift, side in ((latency.p50_ns, -9, "right"), (latency.p99_ns, 9, "left")):
            axes.annotate(
                format_ns(value),
                (value, row),
                textcoords="offset points",
                xytext=(shift, 0),
                ha=side,
                va="center",
                color=_INK,
                fontsize=9,
            )
    axes.set_xscale("log")
    # Room for the labels, as a share of the span, on a logarithmic axis.
    room = (p99.max() / p50.min()) ** 0.22 * 1.6
    axes.set_xlim(p50.min() / room, p99.max() * room)
    axes.set_ylim(len(latencies) - 0.5, -0.5)
    axes.set_yticks(rows, [latency.name for latency in latencies])
    _style(axes, title, grid="x")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.set_xlabel("wall time of one call (logarithmic)")
    _label_times(axes)
    figure.legend(frameon=False, fontsize=9, labelcolor=_INK, ncols=2, loc="outside lower right")
    return _save(figure, path)


def sparsity_per_layer(
    names: Sequence[str],
    sparsities: npt.ArrayLike,
    kept: npt.ArrayLike,
    path: str | Path,
    *,
    title: str = "Sparsity of each layer",
) -> Path:
    """Plot the sparsity of each layer with the number of weights it keeps.

    Args:
        names: Layer names `[layers]`, first at the top.
        sparsities: Fractions of zeros in [0, 1], `[layers]`.
        kept: Weights that are left, `[layers]`.
        path: The PNG to write.
        title: Title of the figure.

    Returns:
        `path`.

    Raises:
        ValueError: There is no layer, lengths differ, or a sparsity is out of range.
    """
    _require("names", names)
    values, counts = np.asarray(sparsities, dtype=np.float64), np.asarray(kept)
    if values.shape != (len(names),) or counts.shape != (len(names),):
        raise ValueError(
            f"names, sparsities and kept must have equal length, got {len(names)}, "
            f"{values.shape} and {counts.shape}"
        )
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"sparsities must lie in [0, 1], got {values.tolist()}")
    figure = _figure(1.4 + 0.42 * len(names))
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.barh(rows, values, height=0.6, color=_COLOURS[0])
    cells = [f"{format_number(count)} kept" for count in counts.tolist()]
    right_edge = 46 + 5 * max(map(len, cells))  # points; a digit is 5.7 wide, other signs less
    for row, value, cell in zip(rows, values.tolist(), cells, strict=True):
        for text, shift, side in ((f"{value:.3f}", 8, "left"), (cell, right_edge, "right")):
            axes.annotate(
                text,
                (1.0, row),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                xytext=(shift, 0),
                ha=side,
                va="center",
                color=_INK,
                fontsize=9,
            )
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(rows, list(names))
    _style(axes, title, grid="x")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.set_xlabel("sparsity (fraction of zeros)")
    return _save(figure, path)


def _figure(height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _style(axes: Axes, title: str | None, *, grid: str) -> None:
    if title is not None:
        axes.set_title(title, loc="left", fontsize=12, color=_INK, pad=12)
    for side in ("top", "right", "left" if grid == "y" else "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=_QUIET, labelcolor=_INK, labelsize=9)
    axes.xaxis.label.set(color=_INK, fontsize=10)
    axes.yaxis.label.set(color=_INK, fontsize=10)


def _engineering() -> Any:
    from matplotlib.ticker import EngFormatter

    return EngFormatter(sep="")


def _label_times(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    steps = (1.0,) if high / low > 200 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_ns(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"path must end in .png, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # No software tag: the same figure is the same file.
    figure.savefig(path, metadata={"Software": None})
    return path


def _require(name: str, items: Sequence[object]) -> None:
    if not items:
        raise ValueError(f"{name} must hold at least one item, got none")


def _pair(
    name: str, x: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape or not xs.size:
        raise ValueError(f"{name} needs two sequences of equal length, got {xs.shape}, {ys.shape}")
    return xs, ys
