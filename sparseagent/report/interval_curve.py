"""Curves whose values have intervals: what they are, checked, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from sparseagent.report.figure import require_items, series_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]


class IntervalCurve(NamedTuple):
    """Values `[n]` at `x [n]`, each with its interval: `low <= value <= high`.

    `series` is the number of its colour and marker, for a method that looks the same in several
    figures; None for its place among the curves.
    """

    label: str
    x: npt.ArrayLike
    value: npt.ArrayLike
    low: npt.ArrayLike
    high: npt.ArrayLike
    series: int | None = None


class CheckedCurve(NamedTuple):
    """An `IntervalCurve` as float64 arrays `[n]`."""

    label: str
    series: int
    x: Array
    value: Array
    low: Array
    high: Array


def checked_curves(curves: Sequence[IntervalCurve]) -> list[CheckedCurve]:
    """The curves as arrays.

    Raises:
        ValueError: there is none, a value is not finite or lies outside its interval, or lengths
            differ within a curve.
    """
    require_items("curves", curves)
    checked = []
    for place, given in enumerate(curves):
        label, *columns, series = given
        arrays = [np.asarray(column, dtype=np.float64) for column in columns]
        shapes = [array.shape for array in arrays]
        if arrays[0].ndim != 1 or not arrays[0].size or len(set(shapes)) > 1:
            raise ValueError(f"curves: {label!r} needs four sequences of one length, got {shapes}")
        curve = CheckedCurve(label, place if series is None else series, *arrays)
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError(f"curves: {label!r} needs finite values, got {columns}")
        if not ((curve.low <= curve.value) & (curve.value <= curve.high)).all():
            raise ValueError(f"curves: {label!r} needs low <= value <= high, got {columns[1:]}")
        checked.append(curve)
    return checked


def draw_curve(axes: Axes, curve: CheckedCurve, x: Array) -> None:
    """One series as markers with bars, joined in the order of `x`."""
    style, order = series_style(curve.series), np.argsort(x)
    value = curve.value[order]
    axes.errorbar(
        x[order],
        value,
        yerr=np.array([value - curve.low[order], curve.high[order] - value]),
        fmt=style.marker,
        linestyle=style.line,
        color=style.colour,
        label=curve.label,
        linewidth=1.5,
        markersize=6,
        elinewidth=1.3,
        capsize=3,
        capthick=1.3,
    )


def set_apart(positions: Sequence[Array], step: float) -> list[Array]:
    """The positions, with those of different curves that nearly coincide set `step` apart."""
    moved = [x.copy() for x in positions]
    places = np.unique(np.concatenate(positions))
    for group in np.split(places, np.flatnonzero(np.diff(places) >= step) + 1):
        inside = [np.isin(x, group) for x in positions]
        holders = [k for k, mask in enumerate(inside) if mask.any()]
        for rank, k in enumerate(holders):
            moved[k][inside[k]] += (rank - (len(holders) - 1) / 2) * step
    return moved
