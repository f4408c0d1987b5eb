"""The tables of a finished run: what stands in them, read strictly, for reports rest on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparseagent.train.config import RunConfig
from sparseagent.train.folder import AGENTS
from sparseagent.train.records import bad_table, read_number, read_table

AGENT_COLUMNS = (
    *("agent", "seed", "network", "weights", "kept", "effective", "sparsity"),
    *("reached", "timesteps", "seconds", "resumed", "file_bytes"),
)
EPISODE_COLUMNS = ("agent", "seed", "episode", "return", "length")
PARITY_COLUMNS = ("agent", "seed", "observations", "different", "largest")
LAYER_COLUMNS = ("seed", "part", "layer", "inputs", "outputs", "weights", "kept", "sparsity")
LATENCY_COLUMNS = ("contender", "p50_ns", "p99_ns", "mean_ns", "calls")

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class RunTables:
    """The tables that the test of a run wrote, checked; each row as strings.

    Attributes:
        agents: one row an agent and seed.
        episodes: one row a test episode.
        parities: one row an agent and seed.
        layers: one row a pruned matrix and seed.
        latencies: one row a contender.
    """

    agents: Rows
    episodes: Rows
    parities: Rows
    layers: Rows
    latencies: Rows

    @property
    def reached(self) -> bool:
        """Whether every agent has the sparsity that it was to have."""
        return all(row["reached"] == "True" for row in self.agents)

    @property
    def differing(self) -> Rows:
        """Rows of `parities` of agents whose compiled policy does not act like the model."""
        return [row for row in self.parities if int(row["different"]) > 0]


def read_run_tables(root: Path, config: RunConfig) -> RunTables:
    """Read the tables of a finished run.

    Args:
        root: the run folder.
        config: its configuration: which agents, seeds and episodes must be there.

    Raises:
        ValueError: a table is not there, empty, cut off, lacks an agent, seed or episode, has one
            twice, or a value that cannot be; the message names the file and what to do.
    """
    reader = _Reader(root, config)
    return RunTables(
        agents=reader.agents(),
        episodes=reader.episodes(),
        parities=reader.parities(),
        layers=reader.layers(),
        latencies=reader.latencies(),
    )


@dataclass(frozen=True)
class _Reader:
    root: Path
    config: RunConfig

    @property
    def remedy(self) -> str:
        marker = self.root / "state" / "test.done"
        return f"to test the agents again, delete {marker} and give the command of the run again"

    @property
    def pairs(self) -> set[tuple[str, ...]]:
        """Every agent and seed of the run."""
        return {(agent, str(seed)) for agent in AGENTS for seed in self.config.seeds}

    def agents(self) -> Rows:
        rows = read_table(
            self.root / "agents.csv",
            AGENT_COLUMNS,
            key=("agent", "seed"),
            remedy=self.remedy,
            added={"resumed": ""},
        )
        self._hold("agents.csv", rows, ("agent", "seed"), self.pairs)
        for row in rows:
            self._whole("agents.csv", row, "weights", "kept", "effective", "timesteps")
            self._number("agents.csv", row, "seconds", least=0)
            self._number("agents.csv", row, "sparsity", least=0, most=1)
            if not int(row["effective"]) <= int(row["kept"]) <= int(row["weights"]):
                got = f"{row['effective']}, {row['kept']} and {row['weights']}"
                raise self._bad("agents.csv", "effective <= kept <= weights", got)
            if row["reached"] not in ("True", "False"):
                raise self._bad("agents.csv", "True or False as reached", row["reached"])
            if row["resumed"] not in ("True", "False", ""):
                raise self._bad("agents.csv", "True, False or nothing as resumed", row["resumed"])
        return rows

    def episodes(self) -> Rows:
        rows = self._rows("episodes.csv", EPISODE_COLUMNS, ("agent", "seed", "episode"))
        numbers = map(str, range(self.config.eval_episodes))
        wanted = {(*pair, number) for number in numbers for pair in self.pairs}
        self._hold("episodes.csv", rows, ("agent", "seed", "episode"), wanted)
        for row in rows:
            self._number("episodes.csv", row, "return")
        return rows

    def parities(self) -> Rows:
        rows = self._rows("parity.csv", PARITY_COLUMNS, ("agent", "seed"))
        self._hold("parity.csv", rows, ("agent", "seed"), self.pairs)
        for row in rows:
            self._whole("parity.csv", row, "observations", "different")
            self._number("parity.csv", row, "observations", least=1)
            self._number("parity.csv", row, "different", least=0, most=float(row["observations"]))
        return rows

    def layers(self) -> Rows:
        rows = self._rows("layers.csv", LAYER_COLUMNS, ("seed", "part", "layer"))
        self._hold("layers.csv", rows, ("seed",), {(str(seed),) for seed in self.config.seeds})
        for row in rows:
            self._whole("layers.csv", row, "inputs", "outputs", "weights", "kept")
            self._number("layers.csv", row, "sparsity", least=0, most=1)
        return rows

    def latencies(self) -> Rows:
        rows = self._rows("latency.csv", LATENCY_COLUMNS, ("contender",))
        for row in rows:
            for column in ("p50_ns", "p99_ns", "mean_ns"):
                self._number("latency.csv", row, column, least=0)
            self._whole("latency.csv", row, "calls")
        return rows

    def _rows(self, name: str, columns: Sequence[str], key: Sequence[str]) -> Rows:
        return read_table(self.root / name, columns, key=key, remedy=self.remedy)

    def _hold(
        self, name: str, rows: Rows, key: Sequence[str], wanted: Collection[tuple[str, ...]]
    ) -> None:
        """Refuse a table that lacks what the run has, or has what it lacks."""
        found = {tuple(row[column] for column in key) for row in rows}
        if found == set(wanted):
            return
        missing, strange = sorted(set(wanted) - found), sorted(found - set(wanted))
        got = f"none of {', '.join(missing[0])}" if missing else f"{', '.join(strange[0])} as well"
        raise self._bad(name, f"each {', '.join(key)} of the run", got)

    def _number(self, name: str, row: Mapping[str, str], column: str, **limits: float) -> None:
        read_number(self.root / name, row, column, self.remedy, **limits)

    def _whole(self, name: str, row: Mapping[str, str], *columns: str) -> None:
        for column in columns:
            if not row[column].isdecimal():
                raise self._bad(name, f"a whole number as {column}", repr(row[column]))

    def _bad(self, name: str, expected: str, got: str) -> ValueError:
        return bad_table(self.root / name, expected, got, self.remedy)
