"""The figure of the inputs that an agent uses, over its training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparseagent.report.figure import (
    COLOURS,
    INK,
    new_figure,
    require_items,
    save_figure,
    style_axes,
)

__all__ = ["input_bars"]


def input_bars(
    names: Sequence[str],
    shares: npt.ArrayLike,
    path: str | Path,
    *,
    title: str = "Inputs by their share of the weights",
) -> Path:
    """Plot what each input has of an agent's squared input weights: mean over seeds, and each seed.

    Args:
        names: Names of the inputs `[inputs]`, first at the top.
        shares: Shares in [0, 1], `[seeds, inputs]`.
        path: The PNG to write; missing folders are made.
        title: Title of the figure.

    Returns:
        `path`.

    Raises:
        ValueError: There is no input or no seed, shapes differ, or a share is out of range.
    """
    require_items("names", names)
    values = np.asarray(shares, dtype=np.float64)
    if values.ndim != 2 or not len(values) or values.shape[1] != len(names):
        raise ValueError(f"shares must have shape [seeds, {len(names)}], got {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"shares must lie in [0, 1], got {values.min()} to {values.max()}")
    figure = new_figure(1.2 + 0.24 * len(names))
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.barh(rows, values.mean(axis=0), height=0.62, color=COLOURS[0], alpha=0.85, label="mean")
    for place, seed in enumerate(values):
        label = None if place else "each seed"
        axes.plot(seed, rows, "o", color=INK, markersize=3.5, alpha=0.6, label=label)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(left=0.0)
    axes.set_yticks(rows, list(names))
    style_axes(axes, title, grid="x")
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_xlabel("share of the squared weights that read the observation")
    if len(values) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    return save_figure(figure, path)
