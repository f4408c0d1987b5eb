"""What the table says about each cell: its runs over seeds, and comparisons with other cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparseagent.report import (
    Estimate,
    Outcome,
    estimate,
    in_words,
    iqm,
    normalise,
    outcome_of,
    paired_differences,
    probability_of_improvement,
    share_of_dense,
    sign_flip_p,
)
from sparseagent.study.cells import Cell
from sparseagent.study.config import Study
from sparseagent.study.method import METHODS, Method
from sparseagent.study.table import key_of, read_table
from sparseagent.study.target import Target

DENSE, TINY = "dense", "tiny"
#: Sparsities up to which a pruned agent must beat the tiny dense one to be worth its name.
TINY_UP_TO = 0.95
#: Two networks are of the same size up to this ratio of their weights.
_SAME_SIZE = 1.1


@dataclass(frozen=True)
class Group:
    """All runs of one method at one sparsity in one environment: one per seed.

    Attributes:
        method: how the agents were trained.
        sparsity: fraction of zeros asked for.
        rows: rows of the table, in the order of seeds.
        planned: how many seeds the studies ask for.
        target: the mark to reach, or None.
    """

    method: Method
    sparsity: float
    rows: tuple[Mapping[str, str], ...]
    planned: int
    target: Target | None

    @property
    def label(self) -> str:
        """Method and sparsity for a reader."""
        return self.method.label + (f" {self.sparsity:g}" if self.method.has_sparsity else "")

    @property
    def at(self) -> tuple[str, float]:
        """Name of the method, and sparsity."""
        return self.method.name, self.sparsity

    @property
    def returns(self) -> dict[int, float]:
        """Mean test return of each seed."""
        return {int(row["seed"]): float(row["mean"]) for row in self.rows}

    @property
    def summary(self) -> Estimate:
        """IQM over seeds of the mean test returns, with its 95 % interval."""
        return estimate(list(self.returns.values()), iqm)

    @property
    def text(self) -> str:
        """`summary` for a reader."""
        return in_words(self.summary, len(self.rows))

    def only(self, seeds: Collection[int]) -> Group:
        """The runs of these seeds alone."""
        return replace(self, rows=tuple(row for row in self.rows if int(row["seed"]) in seeds))

    def mean(self, column: str) -> float:
        """Mean of a column over seeds."""
        return float(np.mean([float(row[column]) for row in self.rows]))

    def median(self, column: str) -> float:
        """Median of a column over seeds."""
        return float(np.median([float(row[column]) for row in self.rows]))


@dataclass(frozen=True)
class Place:
    """Everything about one environment and algorithm.

    Attributes:
        env: Gymnasium environment id.
        algo: algorithm.
        groups: those with at least one run, in the order of the studies.
        missing: cells without a single run.
        cells: the planned cells, for the settings.
    """

    env: str
    algo: str
    groups: tuple[Group, ...]
    missing: tuple[Cell, ...]
    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """Environment and algorithm for a reader."""
        return f"{self.env}, {self.algo.upper()}"

    @property
    def random(self) -> float:
        """Mean return of the random policy."""
        return float(self.groups[0].rows[0]["random"])

    def only(self, seeds: Collection[int]) -> Place:
        """The runs of these seeds alone."""
        return replace(self, groups=tuple(group.only(seeds) for group in self.groups))

    def find(self, method: str, sparsity: float = 0.0) -> Group | None:
        """The group of a method at a sparsity, if it has a run."""
        for group in self.groups:
            if group.at == (method, sparsity):
                return group
        return None


@dataclass(frozen=True)
class Comparison:
    """One group against another, over the seeds that both have.

    Attributes:
        seeds: how many those are.
        difference: IQM over seeds of the paired differences, with its 95 % interval.
        p: p-value of their mean, by flipping their signs; not corrected for other comparisons.
        better: probability that a run of the first beats a run of the second.
        size: weights of the first for each weight of the second.
    """

    seeds: int
    difference: Estimate
    p: float
    better: float
    size: float

    @property
    def same_size(self) -> bool:
        """Whether both have about as many weights, or the first has fewer."""
        return self.size <= _SAME_SIZE

    @property
    def outcome(self) -> Outcome:
        """What the interval says; with few seeds it says nothing."""
        return outcome_of(self.difference, self.seeds)


def common_seeds(group: Group, other: Group) -> list[int]:
    """The seeds that both have."""
    return [seed for seed in group.returns if seed in other.returns]


def compare(group: Group, other: Group | None) -> Comparison | None:
    """Compare two groups seed by seed; None where no seed is common."""
    if other is None:
        return None
    first, second = _common(group, other)
    if not first:
        return None
    differences = paired_differences(first, second)
    better = probability_of_improvement(list(first.values()), list(second.values()))
    size = group.mean("kept") / other.mean("kept")
    return Comparison(
        len(first), estimate(differences, iqm), sign_flip_p(differences), better, size
    )


def share(group: Group, dense: Group | None, random: float) -> Estimate | None:
    """The share of dense's return above random that a group keeps, in pairs of seeds.

    None where no seed is common, or where the dense agents are no better than random ones.
    """
    if dense is None:
        return None
    first, second = _common(group, dense)
    if not first or iqm(list(second.values())) <= random:
        return None
    return share_of_dense(first, second, random=random)


def normalised(place: Place, group: Group) -> npt.NDArray[np.float64] | None:
    """Returns of each seed where random has 0 and the dense agents' IQM has 1; None without."""
    dense = place.find(DENSE)
    if dense is None or dense.summary.value <= place.random:
        return None
    values = list(group.returns.values())
    return normalise(values, random=place.random, dense=dense.summary.value)


def load_places(studies: Sequence[Study], cells: Sequence[Cell], csv: Path) -> tuple[Place, ...]:
    """Put the rows of the table to the cells of studies.

    Studies that share an environment and an algorithm are shown together. A row counts once, even
    where two studies ask for the same cell.

    Raises:
        ValueError: two studies train the same environment with different settings.
    """
    rows = {key_of(row): row for row in read_table(csv)}
    _check_shared(studies)
    targets = {
        (e.env, algo, *level): value
        for study in studies
        for e in study.environments
        for algo in e.algos
        for level, value in e.targets.items()
    }
    places: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.config.env, cell.config.algo), []).append(cell)
    return tuple(_place(env, algo, found, rows, targets) for (env, algo), found in places.items())


def _check_shared(studies: Sequence[Study]) -> None:
    """Methods are compared within an environment: all must have been trained alike there."""
    seen: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
    for study in studies:
        for environment in study.environments:
            for algo in environment.algos:
                place = (environment.env, algo)
                name, settings = seen.setdefault(place, (study.name, environment.settings))
                if settings != environment.settings:
                    raise ValueError(
                        f"settings: {name} and {study.name} train {environment.env} with {algo} "
                        f"differently, {dict(settings)} and {dict(environment.settings)}: report "
                        "them apart"
                    )


def _place(
    env: str,
    algo: str,
    cells: Sequence[Cell],
    rows: Mapping[Any, Mapping[str, str]],
    targets: Mapping[Any, Target],
) -> Place:
    order: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        order.setdefault((cell.method.name, cell.sparsity), []).append(cell)
    groups, missing = [], []
    for (name, sparsity), wanted in order.items():
        found = {c.seed: rows[c.key] for c in wanted if c.key in rows}
        if not found:
            missing.append(wanted[0])
            continue
        groups.append(
            Group(
                method=METHODS[name],
                sparsity=sparsity,
                rows=tuple(found[seed] for seed in sorted(found)),
                planned=len({c.seed for c in wanted}),
                target=targets.get((env, algo, name, sparsity)),
            )
        )
    return Place(env, algo, tuple(groups), tuple(missing), tuple(cells))


def _common(group: Group, other: Group) -> tuple[dict[int, float], dict[int, float]]:
    first, second, seeds = group.returns, other.returns, common_seeds(group, other)
    return {s: first[s] for s in seeds}, {s: second[s] for s in seeds}
