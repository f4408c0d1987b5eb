"""A finished run, read back from the raw files of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseagent.report import Latency
from sparseagent.train.config import RunConfig
from sparseagent.train.records import read_json
from sparseagent.train.run_tables import RunTables, read_run_tables
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
    tables: RunTables
    latencies: Sequence[Latency]
    returns: Mapping[str, ReturnSummary]
    pruned_minus_dense: Difference
    pruned_minus_tiny: Difference

    def first_row(self, agent: str) -> Mapping[str, str]:
        """The row of `agents.csv` of an agent's first seed."""
        return next(row for row in self.tables.agents if row["agent"] == agent)


def load_run(root: Path) -> RunData:
    """Read the raw files of a finished run.

    Raises:
        ValueError: the folder holds no finished run, or one of its tables is not whole.
    """
    if not (root / "machine.json").exists():
        raise ValueError(f"folder: expected a finished run, got {root}")
    config = RunConfig.load(root / "config.json")
    tables = read_run_tables(root, config)
    returns = returns_by_agent(tables.episodes)
    return RunData(
        root=root,
        config=config,
        strategy=read_json(root / "strategy.json"),
        machine=read_json(root / "machine.json"),
        tables=tables,
        latencies=[
            Latency(
                row["contender"],
                float(row["p50_ns"]),
                float(row["p99_ns"]),
                float(row["mean_ns"]),
                int(row["calls"]),
            )
            for row in tables.latencies
        ],
        returns={agent: summarise(values) for agent, values in returns.items()},
        pruned_minus_dense=difference(returns["pruned"], returns["dense"]),
        pruned_minus_tiny=difference(returns["pruned"], returns["tiny"]),
    )
