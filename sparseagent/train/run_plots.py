"""The four plots of a run's report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparseagent.report import (
    Curve,
    ReturnBar,
    Schedule,
    latency_bars,
    learning_curve,
    return_bars,
    sparsity_per_layer,
)
from sparseagent.train.records import read_rows
from sparseagent.train.run_data import LABELS, RunData

_POINTS = 200
Array = npt.NDArray[np.float64]


def draw_plots(run: RunData) -> None:
    """Write `plots/learning_curve.png`, `returns.png`, `latency.png` and `layers.png`."""
    folder = run.root / "plots"
    title = f"{run.config.env}, {run.config.algo.upper()}"
    _learning_curve(run, folder / "learning_curve.png", title)
    return_bars(
        [
            ReturnBar(LABELS[agent], found.iqm, found.low, found.high)
            for agent, found in run.returns.items()
        ],
        folder / "returns.png",
        title=f"{title}: return of each agent",
    )
    latency_bars(
        run.latencies, folder / "latency.png", title=f"{title}: latency of one call, batch 1"
    )
    seed = str(run.config.seeds[0])
    layers = [row for row in run.tables.layers if row["seed"] == seed]
    sparsity_per_layer(
        [row["layer"] for row in layers],
        [float(row["sparsity"]) for row in layers],
        [int(row["kept"]) for row in layers],
        folder / "layers.png",
        title=f"{title}: sparsity of each layer",
    )


def _learning_curve(run: RunData, path: Path, title: str) -> None:
    rows = read_rows(run.root / "learning_curve.csv")
    curves, schedule = [], None
    for agent, label in LABELS.items():
        found = [row for row in rows if row["agent"] == agent]
        if not found:
            continue  # a training so short that no episode has ended
        steps, returns, sparsity = _columns(found)
        curves.append(Curve(label, *_smooth(steps, returns)))
        if agent == "pruned":
            schedule = Schedule(steps, sparsity)
    if curves:
        learning_curve(curves, path, schedule=schedule, title=f"{title}: training")


def _columns(rows: list[dict[str, str]]) -> tuple[Array, Array, Array]:
    """Timesteps, returns and sparsities, all seeds together, in the order of time."""
    table: Any = [
        (float(row["timesteps"]), float(row["return"]), float(row["sparsity"])) for row in rows
    ]
    columns = np.array(sorted(table)).T
    return columns[0], columns[1], columns[2]


def _smooth(steps: Array, returns: Array) -> tuple[Array, Array]:
    """Moving average over 5 % of the episodes, at `_POINTS` places at most."""
    window = max(1, len(returns) // 20)
    sums = np.concatenate(([0.0], np.cumsum(returns)))
    places = np.unique(np.linspace(1, len(returns), _POINTS).astype(int))
    starts = np.maximum(0, places - window)
    return steps[places - 1], (sums[places] - sums[starts]) / (places - starts)
