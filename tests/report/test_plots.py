"""Figures: a readable PNG each, with the words and the data it should show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from drawn import is_drawn, words
from matplotlib.figure import Figure

from sparseagent.report import (
    Curve,
    Latency,
    ReturnBar,
    Schedule,
    latency_bars,
    learning_curve,
    return_bars,
    sparsity_per_layer,
)

STEPS = np.linspace(0, 1e6, 30)
LATENCIES = [Latency("sparse", 610, 820, 640, 2000), Latency("torch", 2e4, 3.5e4, 2.2e4, 2000)]


def test_learning_curve(tmp_path: Path, figures: list[Figure]) -> None:
    path = learning_curve(
        [Curve("dense", STEPS, np.sqrt(STEPS)), ("pruned", STEPS, 0.9 * np.sqrt(STEPS))],
        tmp_path / "new" / "curve.png",
        schedule=Schedule(STEPS, np.minimum(STEPS / 5e5, 0.95)),
        title="LunarLander-v3",
    )
    assert path == tmp_path / "new" / "curve.png"
    assert is_drawn(path)
    returns, sparsity = figures[0].axes
    assert [len(axes.lines) for axes in (returns, sparsity)] == [2, 1]
    np.testing.assert_array_equal(returns.lines[1].get_ydata(), 0.9 * np.sqrt(STEPS))
    assert returns.lines[0].get_color() != returns.lines[1].get_color()
    assert returns.lines[0].get_linestyle() != returns.lines[1].get_linestyle()
    assert sparsity.get_ylim() == (0.0, 1.0)
    expected = {"dense", "pruned", "LunarLander-v3", "environment steps", "sparsity", "0.95"}
    assert expected | {"return per episode", "200k", "1M"} <= words(figures[0])


def test_learning_curve_of_one_point_and_no_schedule(tmp_path: Path, figures: list[Figure]) -> None:
    assert is_drawn(learning_curve([("one", [1000], [3.0])], tmp_path / "curve.png"))
    (axes,) = figures[0].axes
    assert axes.lines[0].get_marker() == "o"
    assert axes.get_legend() is None


def test_return_bars(tmp_path: Path, figures: list[Figure]) -> None:
    bars = [ReturnBar("dense", 266.7, 255, 272), ("tiny dense", 130.0, 80, 171)]
    assert is_drawn(return_bars(bars, tmp_path / "bars.png", title="LunarLander-v3"))
    (axes,) = figures[0].axes
    assert [patch.get_height() for patch in axes.patches] == [266.7, 130.0]
    (segments,) = [c.get_segments() for c in axes.collections]
    assert [segment[:, 1].tolist() for segment in segments] == [[255, 272], [80, 171]]
    expected = {"266.7", "130", "dense", "tiny dense", "LunarLander-v3"}
    assert expected | {"return (IQM, 95 % interval)"} <= words(figures[0])


def test_return_bars_below_zero_and_without_width(tmp_path: Path, figures: list[Figure]) -> None:
    path = return_bars([("a", -80.0, -90, -70), ("b", -85.0, -85, -85)], tmp_path / "bars.png")
    assert is_drawn(path)
    assert {"\N{MINUS SIGN}80", "\N{MINUS SIGN}85"} <= words(figures[0])
    low, high = figures[0].axes[0].get_ylim()
    assert low < -90
    assert high >= 0


def test_latency_bars(tmp_path: Path, figures: list[Figure]) -> None:
    assert is_drawn(latency_bars(LATENCIES, tmp_path / "latency.png"))
    (axes,) = figures[0].axes
    assert axes.get_xscale() == "log"
    assert [line.get_xdata().tolist() for line in axes.lines] == [[610, 2e4], [820, 3.5e4]]
    assert axes.get_ylim() == (1.5, -0.5)  # first at the top
    assert {"sparse", "torch", "610 ns", "35 µs", "p50 (median)", "p99"} <= words(figures[0])


@pytest.mark.parametrize("latencies", [LATENCIES, LATENCIES[:1], [Latency("x", 9, 9, 9, 1)]])
def test_latency_labels_lie_inside(
    latencies: list[Latency], tmp_path: Path, figures: list[Figure]
) -> None:
    latency_bars(latencies, tmp_path / "latency.png")
    (axes,) = figures[0].axes
    frame = axes.get_window_extent()
    for label in axes.texts:
        extent = label.get_window_extent()
        assert frame.x0 <= extent.x0
        assert extent.x1 <= frame.x1


def test_sparsity_per_layer(tmp_path: Path, figures: list[Figure]) -> None:
    path = sparsity_per_layer(
        ["policy_net.0", "action_net"], [0.975, 0.0], [1638, 64], tmp_path / "layers.png"
    )
    assert is_drawn(path)
    (axes,) = figures[0].axes
    assert [patch.get_width() for patch in axes.patches] == [0.975, 0.0]
    assert axes.get_xlim() == (0.0, 1.0)
    expected = {"policy_net.0", "0.975", "1,638 kept", "0.000", "64 kept"}
    assert expected | {"sparsity (fraction of zeros)"} <= words(figures[0])


def test_same_data_same_file(tmp_path: Path) -> None:
    first = latency_bars(LATENCIES, tmp_path / "a.png").read_bytes()
    assert latency_bars(LATENCIES, str(tmp_path / "b.png")).read_bytes() == first


def test_no_global_state(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    latency_bars(LATENCIES, tmp_path / "a.png")
    assert dict(mpl.rcParams) == before
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: learning_curve([], path), "curves must hold at least one"),
        (lambda path: learning_curve([("a", [1, 2], [1])], path), r"curves\[0\] needs two"),
        (
            lambda path: learning_curve([("a", [1], [1])], path, schedule=Schedule([1], [])),
            "schedule needs two sequences",
        ),
        (lambda path: return_bars([], path), "groups must hold at least one"),
        (lambda path: return_bars([("a", 1, 2, 3)], path), "'a' needs low <= value <= high"),
        (lambda path: latency_bars([], path), "latencies must hold at least one"),
        (lambda path: latency_bars([Latency("a", 0, 1, 1, 1)], path), "0 < p50 <= p99"),
        (lambda path: sparsity_per_layer([], [], [], path), "names must hold at least one"),
        (lambda path: sparsity_per_layer(["a"], [0.5, 0.5], [1], path), "equal length"),
        (lambda path: sparsity_per_layer(["a"], [95.0], [1], path), r"must lie in \[0, 1\]"),
        (lambda path: latency_bars(LATENCIES, path.with_suffix(".pdf")), r"must end in \.png"),
    ],
)
def test_bad_arguments(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
