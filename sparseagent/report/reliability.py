"""How far an agent can be relied on: spread over seeds and the worst tenth.

In the manner of Chan et al., "Measuring the Reliability of Reinforcement Learning Algorithms"
(2020): dispersion across runs is the interquartile range, risk across runs and across episodes is
the expected shortfall (conditional value at risk) of the lower tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparseagent.bootstrap import as_finite, mean_of_ranks

__all__ = ["Stability", "stability", "worst_decile"]


@dataclass(frozen=True)
class Stability:
    """Spread and lower tail of the returns of one method, in units of the return.

    Attributes:
        seeds: Number of training seeds.
        episodes: Test episodes of each.
        std: Sample standard deviation of the seeds' mean returns (divisor `seeds - 1`); None for a
            single seed, which says nothing about spread.
        iqr: Interquartile range of the seeds' mean returns; None for a single seed.
        worst_seed: Mean return of the worst seed.
        worst_decile_of_seeds: Mean return of the worst tenth of the seeds, at least one.
        worst_decile_of_episodes: Mean of the worst tenth of all episodes of all seeds.
        std_of_episodes: Standard deviation over the episodes within a seed, averaged over seeds.
    """

    seeds: int
    episodes: int
    std: float | None
    iqr: float | None
    worst_seed: float
    worst_decile_of_seeds: float
    worst_decile_of_episodes: float
    std_of_episodes: float


def worst_decile(x: npt.ArrayLike, axis: int | None = None) -> Any:
    """Mean of the lowest tenth of the values: the expected shortfall at 10 %.

    A tenth of the values, rounded up, so that there is always one: the minimum of up to ten.
    (Rockafellar and Uryasev, "Optimization of conditional value-at-risk", 2000.)

    Args:
        x: Finite values of any shape, at least one along `axis`.
        axis: The axis to reduce; None takes all values together.

    Returns:
        A float for `axis=None`, else an array without that axis.

    Raises:
        ValueError: `x` is empty or not finite.
    """
    return mean_of_ranks(x, axis, lambda n: slice(-(-n // 10)))


def stability(returns: npt.ArrayLike) -> Stability:
    """Spread over seeds, and the lower tail, of the returns of one method.

    Args:
        returns: Finite returns `[seeds, episodes]`.

    Raises:
        ValueError: `returns` is not 2-D, empty or not finite.
    """
    values = as_finite("returns", returns)
    if values.ndim != 2:
        raise ValueError(f"returns must have shape [seeds, episodes], got {values.shape}")
    means = values.mean(axis=1)
    several = len(means) > 1
    low, high = np.percentile(means, (25, 75))
    return Stability(
        seeds=len(means),
        episodes=values.shape[1],
        std=float(means.std(ddof=1)) if several else None,
        iqr=float(high - low) if several else None,
        worst_seed=float(means.min()),
        worst_decile_of_seeds=float(worst_decile(means)),
        worst_decile_of_episodes=float(worst_decile(values)),
        std_of_episodes=float(values.std(axis=1).mean()),
    )
