"""The figures of a study: returns against sparsity, weights and latency, and profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sparseagent.report.comparison import profile_band
from sparseagent.report.figure import (
    INK,
    QUIET,
    SeriesStyle,
    new_figure,
    save_figure,
    series_style,
    style_axes,
    time_ticks,
)
from sparseagent.study.method import METHODS
from sparseagent.study.results import DENSE, TINY, Group, Place, normalised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FILL = 0.15  # opacity of bands
_ORDER = [DENSE, "gmp", TINY, *sorted(set(METHODS) - {DENSE, TINY, "gmp"})]


def style_of(method: str) -> SeriesStyle:
    """A method looks the same in all figures."""
    return series_style(_ORDER.index(method))


def draw_place(place: Place, folder: Path, stem: str) -> dict[str, Path]:
    """The figures of one environment, by what they show."""
    return {
        "sparsity": _against_sparsity(place, folder / f"{stem}_sparsity.png"),
        "weights": _against_weights(place, folder / f"{stem}_weights.png"),
        "latency": _against_latency(place, folder / f"{stem}_latency.png"),
    }


def draw_profiles(places: Sequence[Place], sparsity: float, path: Path) -> Path | None:
    """Performance profiles of all methods at one sparsity, over several environments.

    Scores are normalised: 0 for the random policy, 1 for the IQM of the dense agents. A method is
    drawn if it has runs in all of `places`; None where only the dense agent would be left.
    """
    scores = _scores(places, sparsity)
    if set(scores) <= {DENSE}:
        return None
    lowest = min(float(runs.min()) for tasks in scores.values() for runs in tasks.values())
    thresholds = np.linspace(max(-0.1, min(0.5, lowest - 0.05)), 1.2, 200)
    figure = new_figure(4.2)
    axes = figure.subplots()
    for method, tasks in scores.items():
        band = profile_band(tasks, thresholds)
        style = style_of(method)
        axes.plot(
            band.thresholds,
            band.share,
            style.line,
            color=style.colour,
            label=METHODS[method].label,
            linewidth=1.8,
        )
        axes.fill_between(
            band.thresholds, band.low, band.high, color=style.colour, alpha=_FILL, linewidth=0
        )
    axes.axvline(1.0, color=QUIET, linewidth=0.9, linestyle=":")
    style_axes(axes, f"Performance profiles, sparsity {sparsity:g}", grid="both")
    axes.set_xlabel("normalised return (random policy 0, dense agent 1)")
    axes.set_ylabel("share of runs above")
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower left")
    return save_figure(figure, path)


def _scores(
    places: Sequence[Place], sparsity: float
) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """Method -> environment -> normalised returns, for methods with runs everywhere."""
    found: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for name in _ORDER:
        level = sparsity if METHODS[name].has_sparsity else 0.0
        tasks = {}
        for place in places:
            group = place.find(name, level)
            values = None if group is None else normalised(place, group)
            if values is not None:
                tasks[place.title] = values
        if len(tasks) == len(places) and tasks:
            found[name] = tasks
    return found


def _against_sparsity(place: Place, path: Path) -> Path:
    figure = new_figure(4.2)
    axes = figure.subplots()
    _dense_band(axes, place)
    names = [name for name in _methods(place) if name != DENSE]
    for position, name in enumerate(names):
        groups = [g for g in place.groups if g.method.name == name]
        # Side by side, for intervals of one sparsity would cover each other.
        shift = (position - (len(names) - 1) / 2) * 0.0022
        _series(axes, groups, [g.sparsity + shift for g in groups])
    levels = sorted({g.sparsity for g in place.groups if g.method.has_sparsity})
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    style_axes(axes, f"{place.title}: return against sparsity", grid="y")
    axes.set_xlabel("sparsity of the actor (fraction of zeros)")
    return _finish(figure, axes, path)


def _against_weights(place: Place, path: Path) -> Path:
    figure = new_figure(4.2)
    axes = figure.subplots()
    for name in _methods(place):
        groups = [g for g in place.groups if g.method.name == name]
        if name == TINY:  # the line of the tiny dense agents ends at the whole network
            groups += [g for g in place.groups if g.method.name == DENSE]
        groups.sort(key=lambda g: g.mean("kept"))
        _series(axes, groups, [g.mean("kept") for g in groups], as_method=name)
    axes.set_xscale("log")
    _plain_ticks(axes, [g.mean("kept") for g in place.groups])
    style_axes(axes, f"{place.title}: return against weights", grid="y")
    axes.set_xlabel("weights that are not zero (logarithmic)")
    return _finish(figure, axes, path)


def _against_latency(place: Place, path: Path) -> Path:
    figure = new_figure(4.2)
    axes = figure.subplots()
    for name in _methods(place):
        groups = [g for g in place.groups if g.method.name == name]
        _series(axes, groups, [g.median("latency_p50_ns") for g in groups])
    axes.set_xscale("log")
    time_ticks(axes)
    style_axes(axes, f"{place.title}: return against latency", grid="y")
    axes.set_xlabel("median time of one call of the compiled policy (logarithmic)")
    return _finish(figure, axes, path)


def _series(
    axes: Axes, groups: Sequence[Group], places: Sequence[float], as_method: str | None = None
) -> None:
    """One method: its IQM with intervals, at given places, joined by a line."""
    if not groups:
        return
    method = METHODS[as_method] if as_method else groups[0].method
    style = style_of(method.name)
    found = [group.summary for group in groups]
    values = np.array([e.value for e in found])
    spread = np.array([(e.value - e.low, e.high - e.value) for e in found]).T
    axes.errorbar(
        places,
        values,
        yerr=spread,
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        markersize=6,
        linewidth=1.5,
        elinewidth=1.2,
        capsize=3,
        label=method.label,
    )


def _dense_band(axes: Axes, place: Place) -> None:
    dense = place.find(DENSE)
    if dense is None:
        return
    style, found = style_of(DENSE), dense.summary
    axes.axhline(found.value, color=style.colour, linewidth=1.5, label=dense.method.label)
    axes.axhspan(found.low, found.high, color=style.colour, alpha=_FILL, linewidth=0)


def _methods(place: Place) -> list[str]:
    present = {group.method.name for group in place.groups}
    return [name for name in _ORDER if name in present]


def _plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    wide = max(values) / min(values) > 200
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _finish(figure: object, axes: Axes, path: Path) -> Path:
    axes.set_ylabel("return (IQM over seeds, 95 % interval)")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return save_figure(figure, path)  # type: ignore[arg-type]
