"""A finished run, read back from the raw files of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseagent.report import Latency
from sparseagent.train.config import RunConfig
from sparseagent.train.records import read_json, read_rows
from sparseagent.train.summary import (
    Difference,
    ReturnSummary,
    difference,
    returns_by_agent,
    summarise,
)

#: How the agents are called in tables and plots.
LABELS: Mapping[str, str] = {"dense": "dense", "pruned": "pruned", "tiny": "tiny dense"}


@dataclass(frozen=True)
class RunData:
    """The raw files of a finished run, read and summarised."""

    root: Path
    config: RunConfig
    strategy: Mapping[str, Any]
    machine: Mapping[str, str]
    agents: Sequence[Mapping[str, str]]
    layers: Sequence[Mapping[str, str]]
    parities: Sequence[Mapping[str, str]]
    latencies: Sequence[Latency]
    returns: Mapping[str, ReturnSummary]
    pruned_minus_dense: Difference
    pruned_minus_tiny: Difference

    def first_row(self, agent: str) -> Mapping[str, str]:
        """The row of `agents.csv` of an agent's first seed."""
        return next(row for row in self.agents if row["agent"] == agent)


def load_run(root: Path) -> RunData:
    """Read the raw files of a finished run.

    Raises:
        ValueError: the folder holds no finished run.
    """
    if not (root / "machine.json").exists():
        raise ValueError(f"folder: expected a finished run, got {root}")
    returns = returns_by_agent(read_rows(root / "episodes.csv"))
    return RunData(
        root=root,
        config=RunConfig.load(root / "config.json"),
        strategy=read_json(root / "strategy.json"),
        machine=read_json(root / "machine.json"),
        agents=read_rows(root / "agents.csv"),
        layers=read_rows(root / "layers.csv"),
        parities=read_rows(root / "parity.csv"),
        latencies=[
            Latency(
                row["contender"],
                float(row["p50_ns"]),
                float(row["p99_ns"]),
                float(row["mean_ns"]),
                int(row["calls"]),
            )
            for row in read_rows(root / "latency.csv")
        ],
        returns={agent: summarise(values) for agent, values in returns.items()},
        pruned_minus_dense=difference(returns["pruned"], returns["dense"]),
        pruned_minus_tiny=difference(returns["pruned"], returns["tiny"]),
    )
