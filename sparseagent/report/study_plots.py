"""The figures of a study: methods against each other, every value with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparseagent.report.figure import (
    INK,
    QUIET,
    log_ticks,
    new_figure,
    require_items,
    save_figure,
    series_style,
    style_axes,
)
from sparseagent.report.interval_curve import (
    CheckedCurve,
    IntervalCurve,
    checked_curves,
    draw_curve,
    set_apart,
)
from sparseagent.report.intervals import Estimate, ProfileBand
from sparseagent.report.table import format_ns, format_number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "disturbance_curves",
    "performance_profiles",
    "return_against_latency",
    "return_against_nonzeros",
    "return_against_sparsity",
]

_RETURN = "return (IQM, 95 % interval)"
_LEGEND_COLUMNS = 3


def return_against_sparsity(
    curves: Sequence[IntervalCurve],
    path: str | Path,
    *,
    dense: Estimate | None = None,
    title: str = "Return against sparsity",
    ylabel: str = _RETURN,
) -> Path:
    """Plot the return of each method over its sparsities, beside that of the dense agent.

    The axis is logarithmic in the density, so that 0.9, 0.95 and 0.98 lie well apart. Here as in
    the other figures, curves that meet at one place are set a little apart there, for their
    intervals to be seen.

    Args:
        curves: One for each method, at least one; `x` is the sparsity in [0, 1).
        path: The PNG to write; missing folders are made.
        dense: The dense agent's return, drawn as a line with a band.
        title: Title of the figure.
        ylabel: What the values and their intervals are.

    Returns:
        `path`.

    Raises:
        ValueError: There is no curve, a sparsity is out of range, a value lies outside its
            interval, or lengths differ within a curve.
    """
    checked = checked_curves(curves)
    sparsities = np.unique(np.concatenate([curve.x for curve in checked]))
    if sparsities[0] < 0 or sparsities[-1] >= 1:
        raise ValueError(f"curves: sparsities must lie in [0, 1), got {sparsities.tolist()}")
    axes = _tall_axes(len(curves) + (dense is not None))
    places = -np.log10(1.0 - sparsities)
    gap = np.diff(places).min() if len(places) > 1 else 1.0
    if dense is not None:
        _dense_line(axes, dense)
    step = min(0.6 * gap / len(checked), 0.04 * max(np.ptp(places), 0.5))
    positions = set_apart([-np.log10(1.0 - curve.x) for curve in checked], step)
    for curve, x in zip(checked, positions, strict=True):
        draw_curve(axes, curve, x)
    axes.set_xticks(places, [f"{sparsity:g}" for sparsity in sparsities])
    axes.set_xlim(places[0] - 0.6 * min(gap, 1.0), places[-1] + 0.6 * min(gap, 1.0))
    return _finished(axes, path, title, "sparsity (fraction of zeros)", ylabel)


def return_against_nonzeros(
    curves: Sequence[IntervalCurve],
    path: str | Path,
    *,
    tiny: IntervalCurve | None = None,
    dense: Estimate | None = None,
    title: str = "Return against weights",
    ylabel: str = _RETURN,
) -> Path:
    """Plot returns over the number of weights, against dense networks of as many weights.

    Args:
        curves: One for each method, at least one; `x` is the number of nonzero weights, above 0.
        path: The PNG to write; missing folders are made.
        tiny: Small dense agents by their number of weights, what a pruned agent has to beat: a
            curve like the others, with a band behind them all.
        dense: The large dense agent's return, drawn as a line with a band.
        title: Title of the figure.
        ylabel: What the values and their intervals are.

    Returns:
        `path`.

    Raises:
        ValueError: There is no curve, an `x` is not positive, a value lies outside its interval, or
            lengths differ within a curve.
    """
    checked = checked_curves(curves)
    reference = None
    if tiny is not None:
        number = len(checked) if tiny.series is None else tiny.series
        (reference,) = checked_curves([tiny._replace(series=number)])
        checked.append(reference)
    axes = _log_axes(checked, lambda value: format_number(round(value)), dense)
    if reference is not None:
        order = np.argsort(reference.x)
        x, low, high = (values[order] for values in (reference.x, reference.low, reference.high))
        axes.fill_between(x, low, high, color=INK, alpha=0.1, lw=0)
    return _finished(axes, path, title, "nonzero weights (logarithmic)", ylabel)


def return_against_latency(
    curves: Sequence[IntervalCurve],
    path: str | Path,
    *,
    title: str = "Return against latency",
    ylabel: str = _RETURN,
) -> Path:
    """Plot returns over the time of one call: good agents lie at the top left.

    Args:
        curves: One for each method or contender, at least one; `x` is the latency in ns, above 0.
        path: The PNG to write; missing folders are made.
        title: Title of the figure.
        ylabel: What the values and their intervals are.

    Returns:
        `path`.

    Raises:
        ValueError: There is no curve, a time is not positive, a value lies outside its interval, or
            lengths differ within a curve.
    """
    axes = _log_axes(checked_curves(curves), format_ns)
    return _finished(axes, path, title, "wall time of one call, median (logarithmic)", ylabel)


def performance_profiles(
    profiles: Mapping[str, ProfileBand],
    path: str | Path,
    *,
    series: Sequence[int] | None = None,
    title: str = "Performance profiles",
    xlabel: str = "return, normalised: 0 random, 1 dense",
) -> Path:
    """Plot the share of runs above each return, with its band (Agarwal et al., 2021).

    A curve further up and to the right is better; where two cross, neither is better throughout.

    Args:
        profiles: Method -> its profile from `profile_band`, at least one.
        path: The PNG to write; missing folders are made.
        series: The number of each one's colour, as in `IntervalCurve`; None for its place.
        title: Title of the figure.
        xlabel: What the thresholds are.

    Returns:
        `path`.

    Raises:
        ValueError: There is no profile.
    """
    require_items("profiles", list(profiles))
    axes = _tall_axes(len(profiles))
    for index, (label, band) in zip(series or range(len(profiles)), profiles.items(), strict=True):
        style = series_style(index)
        axes.fill_between(
            band.thresholds, band.low, band.high, color=style.colour, alpha=0.15, lw=0
        )
        axes.plot(
            band.thresholds, band.share, style.line, color=style.colour, label=label, linewidth=1.8
        )
    axes.set_ylim(-0.02, 1.02)
    ylabel = "share of runs above (95 % band)"
    return _finished(axes, path, title, xlabel, ylabel, grid="both")


def disturbance_curves(
    panels: Mapping[str, Sequence[IntervalCurve]],
    path: str | Path,
    *,
    unchanged: Mapping[str, float] | None = None,
    title: str = "Return under disturbances",
    ylabel: str = _RETURN,
) -> Path:
    """Plot returns over the level of each disturbance, one panel each, on one return axis.

    Args:
        panels: Disturbance -> one curve for each agent; `x` is the level. An agent keeps its colour
            in all panels.
        path: The PNG to write; missing folders are made.
        unchanged: The level of each disturbance that means the environment as it is, marked by a
            dotted line.
        title: Title of the figure.
        ylabel: What the values and their intervals are.

    Returns:
        `path`.

    Raises:
        ValueError: There is no panel or no curve in one, a value lies outside its interval, or
            lengths differ within a curve.
    """
    require_items("panels", list(panels))
    labels = list(dict.fromkeys(curve.label for curves in panels.values() for curve in curves))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(0.9 + 2.5 * rows + _legend_height(len(labels)))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (name, curves) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, checked_curves(curves), labels, (unchanged or {}).get(name))
        style_axes(axes, None, grid="y")
        axes.set_xlabel(name)
    for axes in grid[:, 0]:
        axes.set_ylabel(ylabel, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    handles = {}
    for axes in grid.flat[: len(panels)]:
        handles.update(dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True)))
    _legend_of(figure, [handles[label] for label in labels], labels)
    return save_figure(figure, path)


def _panel(
    axes: Axes, curves: Sequence[CheckedCurve], labels: Sequence[str], unchanged: float | None
) -> None:
    """Curves over levels; factors that span more than 1 to 10 stand on a logarithmic axis."""
    levels = np.unique(np.concatenate([curve.x for curve in curves]))
    wide = levels[0] > 0 and levels[-1] > 10 * levels[0]
    place: Callable[[Any], Any] = np.log2 if wide else np.asarray
    if unchanged is not None:
        axes.axvline(place(unchanged), color=QUIET, linestyle=":", linewidth=1.2)
    step = 0.012 * np.ptp(place(levels))
    positions = set_apart([place(curve.x) for curve in curves], step)
    for curve, x in zip(curves, positions, strict=True):
        draw_curve(axes, curve._replace(series=labels.index(curve.label)), x)
    if wide:
        axes.set_xticks(place(levels), [f"{level:.3g}" for level in levels])
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _dense_line(axes: Axes, dense: Estimate) -> None:
    axes.axhspan(dense.low, dense.high, color=QUIET, alpha=0.15, lw=0)
    axes.axhline(dense.value, color=QUIET, linestyle=(0, (5, 2)), linewidth=1.4, label="dense")


def _log_axes(
    curves: Sequence[CheckedCurve], tick: Callable[[float], str], dense: Estimate | None = None
) -> Axes:
    """Curves over a logarithmic x axis, with a margin around all values."""
    values = np.concatenate([curve.x for curve in curves])
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"curves: x must be positive for a logarithmic axis, got {values.min()}")
    axes = _tall_axes(len(curves) + (dense is not None))
    if dense is not None:
        _dense_line(axes, dense)
    margin = max((values.max() / values.min()) ** 0.06, 1.15)
    axes.set_xscale("log")
    axes.set_xlim(values.min() / margin, values.max() * margin)
    step = 0.01 * np.ptp(np.log10(axes.get_xlim()))
    for curve, x in zip(curves, set_apart([np.log10(c.x) for c in curves], step), strict=True):
        draw_curve(axes, curve, 10.0**x)
    log_ticks(axes, tick)
    return axes


def _tall_axes(labels: int) -> Axes:
    """Axes of a new figure with room for so many labels below."""
    axes: Axes = new_figure(3.7 + _legend_height(labels)).subplots()
    return axes


def _finished(
    axes: Axes, path: str | Path, title: str, xlabel: str, ylabel: str, *, grid: str = "y"
) -> Path:
    """Style, labels, legend, and the file."""
    style_axes(axes, title, grid=grid)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    figure = axes.get_figure(root=True)
    assert figure is not None
    _legend_of(figure, *axes.get_legend_handles_labels())
    return save_figure(figure, path)


def _legend_height(labels: int) -> float:
    return 0.1 + 0.2 * -(-labels // _LEGEND_COLUMNS)  # inches


def _legend_of(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    figure.legend(
        handles,
        labels,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        ncols=min(_LEGEND_COLUMNS, len(labels)),
        loc="outside lower center",
    )
