"""The figures of a study: the values, intervals and words they should show, nothing cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from drawn import is_drawn, words
from matplotlib.figure import Figure

from sparseagent.report import (
    Estimate,
    IntervalCurve,
    disturbance_curves,
    performance_profiles,
    profile_band,
    return_against_latency,
    return_against_nonzeros,
    return_against_sparsity,
)
from sparseagent.report.figure import COLOURS, series_style
from sparseagent.report.interval_curve import set_apart

GRADUAL = IntervalCurve(
    "gradual", [0.98, 0.9, 0.95], [210, 250, 240], [200, 245, 238], [215, 255, 244]
)
STATIC = IntervalCurve("static", [0.9], [180.0], [150.0], [190.0])
TWELVE = [STATIC._replace(label=f"a rather long name {k}") for k in range(12)]


def bars(axes: Any) -> dict[str, list[list[float]]]:
    """Label -> (lower end, upper end) of each bar, in drawn order."""
    found = {}
    for container in axes.containers:
        segments = container.lines[2][0].get_segments()
        found[container.get_label()] = [segment[:, 1].tolist() for segment in segments]
    return found


def inside(figure: Figure) -> bool:
    """Whether the labels of axes and legends lie in the picture and no two legend texts meet."""
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [text.get_window_extent() for text in texts]
    for axes in figure.axes:
        boxes += [axes.xaxis.label.get_window_extent()]
    for k, box in enumerate(boxes):
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
            return False
        if any(box.overlaps(other) for other in boxes[:k]):
            return False
    return True


def test_return_against_sparsity(tmp_path: Path, figures: list[Figure]) -> None:
    path = return_against_sparsity(
        [GRADUAL, STATIC], tmp_path / "new" / "s.png", dense=Estimate(262.0, 255.0, 270.0)
    )
    assert path == tmp_path / "new" / "s.png"
    assert is_drawn(path)
    (axes,) = figures[0].axes
    assert bars(axes) == {
        "gradual": [[245, 255], [238, 244], [200, 215]],
        "static": [[150, 190]],
    }
    gradual, static = (container.lines[0].get_xdata() for container in axes.containers)
    assert gradual[0] < static[0]  # apart where both have a point
    assert 10.0 ** -gradual[1:] == pytest.approx([0.05, 0.02])  # on the spot where alone
    assert 10.0 ** -(gradual[0] + static[0]) / 2 == pytest.approx(0.1 * 0.1 / 2)
    expected = {"0.9", "0.95", "0.98", "gradual", "static", "dense", "sparsity (fraction of zeros)"}
    assert expected <= words(figures[0])


@pytest.mark.parametrize("curves", [[STATIC], TWELVE, [GRADUAL, *TWELVE[:10]]])
def test_nothing_is_cut_off(
    curves: list[IntervalCurve], tmp_path: Path, figures: list[Figure]
) -> None:
    dense = Estimate(262.0, 255.0, 270.0)
    return_against_sparsity(curves, tmp_path / "s.png", dense=dense)
    weights = [c._replace(x=5000 * (1 - np.asarray(c.x))) for c in curves]
    return_against_nonzeros(weights, tmp_path / "n.png", tiny=weights[0], dense=dense)
    return_against_latency(weights, tmp_path / "l.png")
    disturbance_curves({"noise": curves, "a pole": curves, "mass": curves}, tmp_path / "d.png")
    assert len(figures) == 4
    assert all(inside(figure) for figure in figures)
    for figure in figures[:3]:
        low, high = figure.axes[0].get_xlim()
        for container in figure.axes[0].containers:
            assert low < container.lines[0].get_xdata().min()
            assert container.lines[0].get_xdata().max() < high


def test_return_against_nonzeros(tmp_path: Path, figures: list[Figure]) -> None:
    tiny = IntervalCurve("tiny dense", [500, 91], [150.0, 100.0], [140.0, 60.0], [155.0, 130.0])
    method = GRADUAL._replace(x=[90, 480, 230])
    assert is_drawn(return_against_nonzeros([method], tmp_path / "n.png", tiny=tiny))
    (axes,) = figures[0].axes
    assert axes.get_xscale() == "log"
    gradual, reference = axes.containers
    assert reference.get_label() == "tiny dense"
    np.testing.assert_allclose(reference.lines[0].get_xdata(), [91, 500], rtol=0.05)  # set apart
    assert reference.lines[0].get_ydata().tolist() == [100.0, 150.0]
    np.testing.assert_allclose(gradual.lines[0].get_xdata(), [90, 230, 480], rtol=0.05)
    assert bars(axes)["gradual"] == [[200, 215], [238, 244], [245, 255]]
    assert bars(axes)["tiny dense"] == [[60, 130], [140, 155]]
    assert {"tiny dense", "gradual", "100", "200", "500"} <= words(figures[0])


def test_a_method_looks_the_same_in_every_figure(tmp_path: Path, figures: list[Figure]) -> None:
    gradual, static = GRADUAL._replace(series=4), STATIC._replace(series=1)
    return_against_sparsity([gradual, static], tmp_path / "s.png")
    return_against_nonzeros([static._replace(x=[90])], tmp_path / "n.png", tiny=gradual)
    return_against_latency([static._replace(x=[300])], tmp_path / "l.png")
    band = profile_band([[1.0, 0.5]], [0.0, 1.0])
    performance_profiles({"static": band}, tmp_path / "p.png", series=[1])
    colours = [
        {line.get_color() for line in figure.axes[0].lines if line.get_color() in COLOURS}
        for figure in figures
    ]
    both = {series_style(4).colour, series_style(1).colour}
    assert colours == [both, both, {series_style(1).colour}, {series_style(1).colour}]


def test_return_against_latency(tmp_path: Path, figures: list[Figure]) -> None:
    curves = [GRADUAL._replace(x=[300, 700, 500]), STATIC._replace(x=[21e3])]
    assert is_drawn(return_against_latency(curves, tmp_path / "l.png", title="LunarLander-v3"))
    (axes,) = figures[0].axes
    assert {"1 µs", "10 µs", "gradual", "LunarLander-v3"} <= words(figures[0])
    np.testing.assert_allclose(axes.containers[1].lines[0].get_xdata(), [21e3])


def test_performance_profiles(tmp_path: Path, figures: list[Figure]) -> None:
    thresholds = np.linspace(0, 1.5, 31)
    good = profile_band({"a": [0.9, 1.0, 1.1], "b": [1.2]}, thresholds)
    bad = profile_band({"a": [0.2, 0.3], "b": [0.1, 0.6]}, thresholds)
    path = performance_profiles({"gradual": good, "static": bad}, tmp_path / "p.png")
    assert is_drawn(path)
    (axes,) = figures[0].axes
    for line, band in zip(axes.lines, (good, bad), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), band.share)
    assert len(axes.collections) == 2
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
    assert {"gradual", "static"} <= words(figures[0])
    assert inside(figures[0])


def test_disturbance_curves(tmp_path: Path, figures: list[Figure]) -> None:
    panels = {"noise": [STATIC, GRADUAL], "length": [GRADUAL], "mass": [GRADUAL]}
    path = disturbance_curves(panels, tmp_path / "d.png", unchanged={"noise": 0.9, "mass": 0.95})
    assert is_drawn(path)
    shown = [axes for axes in figures[0].axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in shown] == ["noise", "length", "mass"]
    colours = [c.lines[0].get_color() for axes in shown for c in axes.containers]
    assert colours == [series_style(k).colour for k in (0, 1, 1, 1)]
    assert len({axes.get_ylim() for axes in shown}) == 1
    dotted = [sum(line.get_linestyle() == ":" for line in axes.lines) for axes in shown]
    assert dotted == [1, 0, 1]
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["static", "gradual"]


def test_wide_factors_stand_on_a_logarithmic_axis(tmp_path: Path, figures: list[Figure]) -> None:
    x, value = [0.125, 1, 8], [20.0, 500.0, 200.0]
    curve = IntervalCurve("dense", x, value, value, value)
    disturbance_curves({"length": [curve]}, tmp_path / "d.png", unchanged={"length": 1.0})
    (axes,) = figures[0].axes
    assert axes.containers[0].lines[0].get_xdata().tolist() == [-3, 0, 3]
    assert {"0.125", "1", "8"} <= words(figures[0])
    dotted = next(line for line in axes.lines if line.get_linestyle() == ":")
    assert set(dotted.get_xdata()) == {0.0}


def test_no_two_series_look_alike() -> None:
    styles = [series_style(k) for k in range(12)]
    assert len({style.marker for style in styles}) == 12
    assert len({(style.colour, style.line) for style in styles}) == 12
    assert len({(style.colour, style.marker) for style in map(series_style, range(78))}) == 78


def test_set_apart_by_hand() -> None:
    a, b, c = set_apart([np.array([0.0, 1.0]), np.array([0.0]), np.array([1.0, 5.0])], 0.2)
    assert a.tolist() == pytest.approx([-0.1, 0.9])
    assert b.tolist() == pytest.approx([0.1])
    assert c.tolist() == pytest.approx([1.1, 5.0])
    # Nearly the same place counts as the same.
    near = set_apart([np.array([1.0]), np.array([1.05])], 0.2)
    assert [x.tolist() for x in near] == [pytest.approx([0.9]), pytest.approx([1.15])]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: return_against_sparsity([], path), "curves must hold at least one"),
        (
            lambda path: return_against_sparsity([STATIC._replace(x=[95.0])], path),
            r"sparsities must lie in \[0, 1\), got \[95.0\]",
        ),
        (
            lambda path: return_against_sparsity([STATIC._replace(low=[185.0])], path),
            "'static' needs low <= value <= high",
        ),
        (
            lambda path: return_against_nonzeros([STATIC._replace(high=[np.inf])], path),
            "'static' needs finite values",
        ),
        (
            lambda path: return_against_latency([STATIC._replace(low=[1.0, 2.0])], path),
            "'static' needs four sequences of one length",
        ),
        (lambda path: return_against_latency([STATIC._replace(x=[0.0])], path), "x must be posi"),
        (lambda path: performance_profiles({}, path), "profiles must hold at least one"),
        (lambda path: disturbance_curves({}, path), "panels must hold at least one"),
        (lambda path: disturbance_curves({"noise": []}, path), "curves must hold at least one"),
    ],
)
def test_bad_arguments(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
