"""The figures of a run's report: one function, one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sparseagent.report.figure import (
    COLOURS,
    INK,
    LINE_STYLES,
    as_pair,
    engineering_ticks,
    log_ticks,
    new_figure,
    require_items,
    save_figure,
    style_axes,
)
from sparseagent.report.latency import Latency
from sparseagent.report.table import format_ns, format_number

__all__ = [
    "Curve",
    "ReturnBar",
    "Schedule",
    "latency_bars",
    "learning_curve",
    "return_bars",
    "sparsity_per_layer",
]


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
    require_items("curves", curves)
    figure = new_figure(4.6 if schedule else 3.8)
    if schedule is None:
        axes, below = figure.subplots(), None
    else:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for index, curve in enumerate(curves):
        x, y = as_pair(f"curves[{index}]", curve[1], curve[2])
        style = LINE_STYLES[index % len(LINE_STYLES)]
        colour = COLOURS[index % len(COLOURS)]
        marker = "o" if len(x) == 1 else None  # a line through one point is invisible
        axes.plot(x, y, style, color=colour, label=curve[0], linewidth=1.8, marker=marker)
    style_axes(axes, title, grid="y")
    axes.set_ylabel("return per episode")
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    last = axes
    if schedule is not None and below is not None:
        x, y = as_pair("schedule", *schedule)
        below.plot(x, y, color=INK, linewidth=1.8)
        below.set_ylim(0.0, 1.0)
        below.set_ylabel("sparsity")
        style_axes(below, None, grid="y")
        below.annotate(
            f"{y[-1]:.3g}",
            (x[-1], y[-1]),
            textcoords="offset points",
            xytext=(-2, -4 if y[-1] > 0.5 else 4),
            ha="right",
            va="top" if y[-1] > 0.5 else "bottom",
            color=INK,
            fontsize=9,
        )
        figure.align_ylabels()
        last = below
    last.set_xlabel("environment steps")
    last.xaxis.set_major_formatter(engineering_ticks())
    return save_figure(figure, path)


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
    require_items("groups", groups)
    for label, value, low, high in groups:
        if not low <= value <= high:
            raise ValueError(
                f"groups: {label!r} needs low <= value <= high, got {low, value, high}"
            )
    figure = new_figure(3.8)
    axes = figure.subplots()
    values = np.array([group[1] for group in groups])
    spread = np.array([(value - low, high - value) for _, value, low, high in groups]).T
    axes.bar(
        range(len(groups)),
        values,
        width=0.55,
        color=[COLOURS[k % len(COLOURS)] for k in range(len(groups))],
        yerr=spread,
        error_kw={"ecolor": INK, "elinewidth": 1.4, "capsize": 5, "capthick": 1.4},
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
            color=INK,
            fontsize=10,
        )
    style_axes(axes, title, grid="y")
    axes.spines["bottom"].set_visible(False)
    axes.axhline(0.0, color=INK, linewidth=0.9)
    axes.margins(y=0.14)
    axes.set_xlim(-0.7, len(groups) - 0.3)
    axes.set_xticks(range(len(groups)), [group[0] for group in groups])
    axes.tick_params(axis="x", length=0, labelsize=10)
    axes.set_ylabel(ylabel)
    return save_figure(figure, path)


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
    require_items("latencies", latencies)
    for latency in latencies:
        if not 0 < latency.p50_ns <= latency.p99_ns:
            raise ValueError(f"latencies need 0 < p50 <= p99, got {latency}")
    figure = new_figure(1.5 + 0.52 * len(latencies))
    axes = figure.subplots()
    rows = np.arange(len(latencies))
    p50 = np.array([latency.p50_ns for latency in latencies])
    p99 = np.array([latency.p99_ns for latency in latencies])
    axes.hlines(rows, p50, p99, color=COLOURS[5], linewidth=6, zorder=1)
    axes.plot(p50, rows, "o", color=COLOURS[0], markersize=8, label="p50 (median)", zorder=2)
    axes.plot(p99, rows, "D", color=COLOURS[1], markersize=6, label="p99", zorder=2)
    for row, latency in zip(rows, latencies, strict=True):
        for value, shift, side in ((latency.p50_ns, -9, "right"), (latency.p99_ns, 9, "left")):
            axes.annotate(
                format_ns(value),
                (value, row),
                textcoords="offset points",
                xytext=(shift, 0),
                ha=side,
                va="center",
                color=INK,
                fontsize=9,
            )
    axes.set_xscale("log")
    # Room for the labels, as a share of the span, on a logarithmic axis.
    room = (p99.max() / p50.min()) ** 0.22 * 1.6
    axes.set_xlim(p50.min() / room, p99.max() * room)
    axes.set_ylim(len(latencies) - 0.5, -0.5)
    axes.set_yticks(rows, [latency.name for latency in latencies])
    style_axes(axes, title, grid="x")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.set_xlabel("wall time of one call (logarithmic)")
    log_ticks(axes, format_ns)
    figure.legend(frameon=False, fontsize=9, labelcolor=INK, ncols=2, loc="outside lower right")
    return save_figure(figure, path)


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
    require_items("names", names)
    values, counts = np.asarray(sparsities, dtype=np.float64), np.asarray(kept)
    if values.shape != (len(names),) or counts.shape != (len(names),):
        raise ValueError(
            f"names, sparsities and kept must have equal length, got {len(names)}, "
            f"{values.shape} and {counts.shape}"
        )
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"sparsities must lie in [0, 1], got {values.tolist()}")
    figure = new_figure(1.4 + 0.42 * len(names))
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.barh(rows, values, height=0.6, color=COLOURS[0])
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
                color=INK,
                fontsize=9,
            )
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(rows, list(names))
    style_axes(axes, title, grid="x")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.set_xlabel("sparsity (fraction of zeros)")
    return save_figure(figure, path)
