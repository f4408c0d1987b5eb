"""What all figures share: size, colours, axes in one style, and the file.

matplotlib is loaded inside the functions and only through its object interface: no pyplot, no
display, no global state. Colours are those of Okabe and Ito (2008), which colour-blind readers
can tell apart; line styles, markers and direct labels carry the same information.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES = ("-", "--", "-.", ":")
# Coprime to the number of colours: all pairs of the two occur.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "8")
INK, QUIET, GRID = "#222222", "#666666", "#DDDDDD"
WIDTH = 7.0  # inches
DPI = 160


class SeriesStyle(NamedTuple):
    """How one of several series is drawn: no two of the first 78 look alike."""

    colour: str
    marker: str
    line: str


def series_style(index: int) -> SeriesStyle:
    """The style of series `index`; colours repeat after six, with another marker and line."""
    return SeriesStyle(
        COLOURS[index % len(COLOURS)],
        MARKERS[index % len(MARKERS)],
        LINE_STYLES[(index + index // len(COLOURS)) % len(LINE_STYLES)],
    )


def new_figure(height: float) -> Figure:
    """An empty white figure, `height` inches high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, title: str | None, *, grid: str) -> None:
    """Give axes the style of all figures; `grid` names the axis of values, "x", "y" or "both"."""
    if title is not None:
        axes.set_title(title, loc="left", fontsize=12, color=INK, pad=12)
    hidden = {"y": ("left",), "x": ("bottom",), "both": ()}[grid]
    for side in ("top", "right", *hidden):
        axes.spines[side].set_visible(False)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=QUIET, labelcolor=INK, labelsize=9)
    axes.xaxis.label.set(color=INK, fontsize=10)
    axes.yaxis.label.set(color=INK, fontsize=10)


def engineering_ticks() -> Any:
    """Tick labels such as 200k and 1M."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(sep="")


def log_ticks(axes: Axes, label: Callable[[float], str]) -> None:
    """A logarithmic x axis with readable ticks, each written by `label`; set its limits first."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    steps = (1.0,) if high / low > 200 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a PNG; missing folders are made.

    Raises:
        ValueError: `path` does not end in .png.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"path must end in .png, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # No software tag: the same figure is the same file.
    figure.savefig(path, metadata={"Software": None})
    return path


def require_items(name: str, items: Sequence[object]) -> None:
    """Raise ValueError where there is nothing to draw."""
    if not items:
        raise ValueError(f"{name} must hold at least one item, got none")


def as_pair(
    name: str, x: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Two sequences as float64 `[n]`, n at least 1.

    Raises:
        ValueError: the lengths differ or are 0.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape or not xs.size:
        raise ValueError(f"{name} needs two sequences of equal length, got {xs.shape}, {ys.shape}")
    return xs, ys
