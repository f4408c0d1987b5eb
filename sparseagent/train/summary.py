"""What the test episodes say: returns with intervals, and differences between two agents.

The interval speaks for what was redrawn: episodes where there is one training seed, seeds and
episodes where there are several. All agents play the same test episodes, so two agents are compared
episode by episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparseagent.report import iqm

_RESAMPLES = 4_000
_BATCH = 500
Returns = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReturnSummary:
    """Returns of one agent over all seeds and test episodes.

    Attributes:
        iqm: interquartile mean (Agarwal et al., 2021).
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        mean: mean.
        std: standard deviation.
        worst: lowest return of an episode.
        episodes: number of episodes.
    """

    iqm: float
    low: float
    high: float
    mean: float
    std: float
    worst: float
    episodes: int

    def __str__(self) -> str:
        return f"{self.iqm:.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Difference:
    """IQM of one agent minus that of another, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`"better"`, `"worse"`, or `"equal"` where the interval holds 0."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "equal"

    def __str__(self) -> str:
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def returns_by_agent(rows: Sequence[Mapping[str, str]]) -> dict[str, Returns]:
    """Rows of `episodes.csv` -> agent -> returns `[seeds, episodes]`, in the order of the file.

    Raises:
        ValueError: the seeds of an agent have different numbers of episodes.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["agent"], {}).setdefault(row["seed"], []).append(float(row["return"]))
    for agent, seeds in found.items():
        if len({len(returns) for returns in seeds.values()}) > 1:
            raise ValueError(f"rows: expected equally many episodes for each seed of {agent!r}")
    return {agent: np.array(list(seeds.values())) for agent, seeds in found.items()}


def summarise(returns: Returns, seed: int = 0) -> ReturnSummary:
    """Summarise returns `[seeds, episodes]`; `seed` is that of the bootstrap."""
    low, high = _interval(returns, None, seed)
    return ReturnSummary(
        iqm=float(iqm(returns)),
        low=low,
        high=high,
        mean=float(returns.mean()),
        std=float(returns.std()),
        worst=float(returns.min()),
        episodes=int(returns.size),
    )


def difference(first: Returns, second: Returns, seed: int = 0) -> Difference:
    """IQM of `first` minus IQM of `second`, both `[seeds, episodes]` of the same episodes.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"second: expected shape {first.shape}, got {second.shape}")
    low, high = _interval(first, second, seed)
    return Difference(float(iqm(first) - iqm(second)), low, high)


def _interval(first: Returns, second: Returns | None, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval: redraw seeds, and episodes within them."""
    rng = np.random.default_rng(seed)
    seeds, episodes = first.shape
    drawn: list[npt.NDArray[np.float64]] = []
    for _ in range(0, _RESAMPLES, _BATCH):
        rows = rng.integers(seeds, size=(_BATCH, seeds, 1))
        columns = rng.integers(episodes, size=(_BATCH, seeds, episodes))
        values = iqm(first[rows, columns].reshape(_BATCH, -1), axis=1)
        if second is not None:
            values = values - iqm(second[rows, columns].reshape(_BATCH, -1), axis=1)
        drawn.append(values)
    low, high = np.percentile(np.concatenate(drawn), (2.5, 97.5))
    return float(low), float(high)
