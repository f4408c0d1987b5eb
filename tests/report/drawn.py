"""What a test sees of a figure."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text


def words(figure: Figure) -> set[str]:
    """Every text drawn in a figure, tick labels included."""
    return {text.get_text() for text in figure.findobj(Text) if text.get_visible()} - {""}


def is_drawn(path: Path) -> bool:
    """Whether a PNG of the common width shows something."""
    image = imread(path)
    assert image.shape[0] > 200
    assert image.shape[1] == 1120
    return bool((image[..., :3] < 0.9).mean() > 0.005)
