"""Play a policy undisturbed and under each level of each disturbance, on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparseagent.bootstrap import bootstrap_interval
from sparseagent.report.reliability import worst_decile
from sparseagent.robustness.disturbance import Disturbance, Setting
from sparseagent.robustness.noise import NOISE_LEVELS, Watch, observation_noise
from sparseagent.robustness.parameters import parameters_of
from sparseagent.rollouts import Predictor, RolloutResult, rollout

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RobustnessRow:
    """The return under one level of one disturbance.

    Attributes:
        environment: Environment id.
        disturbance: Name of what was disturbed.
        level: How much; see `Disturbance`.
        disturbed: False where the level means the environment as it is.
        episodes: Number of episodes.
        seed: Seed of the episodes.
        iqm: Interquartile mean of the returns.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        mean: Mean return. Where a disturbance makes a few episodes fail, this tells, and the IQM
            cuts them off.
        mean_low: Lower end of its 95 % bootstrap interval.
        mean_high: Upper end.
        std: Standard deviation over episodes (divisor `episodes`).
        worst_decile: Mean of the worst tenth of the episodes.
        change: Mean difference to the undisturbed return, episode by episode from the same starts.
        change_low: Lower end of its 95 % bootstrap interval.
        change_high: Upper end.
    """

    environment: str
    disturbance: str
    level: float
    disturbed: bool
    episodes: int
    seed: int
    iqm: float
    low: float
    high: float
    mean: float
    mean_low: float
    mean_high: float
    std: float
    worst_decile: float
    change: float
    change_low: float
    change_high: float


@dataclass(frozen=True, eq=False)
class RobustnessTable:
    """What `robustness` measured.

    Attributes:
        rows: Disturbance by disturbance, levels rising, the undisturbed one in each.
        returns: The return of each episode behind each row, float64 `[rows, episodes]`.
        noise_std: What a noise level of 1 means for each entry of an observation, `[*shape]`; None
            where no noise was measured.
    """

    rows: tuple[RobustnessRow, ...]
    returns: Array
    noise_std: Array | None


def robustness(
    act: Predictor,
    env: str,
    *,
    noise_levels: Sequence[float] = NOISE_LEVELS,
    noise_std: npt.ArrayLike | None = None,
    parameters: Sequence[Disturbance] | None = None,
    episodes: int = 100,
    num_envs: int = 8,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> RobustnessTable:
    """Measure what a policy returns under observation noise and changed environment parameters.

    Every level plays the same episodes (see `rollout` on seeds), so that equal arguments give equal
    tables, and rows of two agents may be compared episode by episode.

    Args:
        act: A policy as `rollout` takes it: a compiled `Plan`, a model, a function.
        env: Environment id.
        noise_levels: Gaussian noise in units of `noise_std`; empty for none.
        noise_std: Standard deviation of each entry of an observation. None takes that of the
            observations of this policy's undisturbed episodes, which differs from agent to agent:
            to compare agents, give all of them one from `observation_std`.
        parameters: What else to disturb; None takes `parameters_of(env)`.
        episodes: Episodes for each level, at least 1.
        num_envs: Environments stepped together; it does not change the returns of a policy that
            treats the rows of a batch alike.
        seed: Seed of the episodes, of the noise and of the bootstrap.
        env_kwargs: Arguments for making the environment.

    Raises:
        ValueError: There is nothing to disturb, an argument is out of range, or `env_kwargs` sets
            what a disturbance changes.
        TypeError: There is noise, and observations are not arrays of numbers.
    """
    chosen = tuple(parameters_of(env) if parameters is None else parameters)
    if not chosen and not noise_levels:
        raise ValueError(
            f"parameters and noise_levels: expected something to disturb, got none for {env!r}"
        )
    fixed = dict(env_kwargs or {})

    def play(setting: Setting) -> RolloutResult:
        if clash := fixed.keys() & setting.env_kwargs.keys():
            raise ValueError(f"env_kwargs must not set what is disturbed, got {sorted(clash)}")
        return rollout(
            act,
            env,
            episodes=episodes,
            num_envs=num_envs,
            seed=seed,
            env_kwargs={**fixed, **setting.env_kwargs},
            wrappers=setting.wrappers,
        )

    watch = Watch() if noise_levels and noise_std is None else None
    undisturbed = play(Setting(wrappers=() if watch is None else (watch,)))
    std = None
    if noise_levels:
        std = np.array(noise_std, dtype=np.float64) if watch is None else watch.std()
        chosen = (observation_noise(std, noise_levels), *chosen)
    rows, returns = [], []
    for disturbance in chosen:
        for level in disturbance.all_levels:
            same = level == disturbance.unchanged
            result = undisturbed if same else play(disturbance.setting(level))
            rows.append(_row(env, disturbance, level, result, undisturbed))
            returns.append(result.returns)
    return RobustnessTable(tuple(rows), np.array(returns), std)


def _row(
    env: str,
    disturbance: Disturbance,
    level: float,
    result: RolloutResult,
    undisturbed: RolloutResult,
) -> RobustnessRow:
    differences = result.returns - undisturbed.returns
    seed = 0 if result.seed is None else result.seed
    change_low, change_high = bootstrap_interval(differences, np.mean, seed=seed)
    mean_low, mean_high = bootstrap_interval(result.returns, np.mean, seed=seed)
    return RobustnessRow(
        environment=env,
        disturbance=disturbance.name,
        level=level,
        disturbed=level != disturbance.unchanged,
        episodes=len(result.returns),
        seed=seed,
        iqm=result.iqm,
        low=result.ci95[0],
        high=result.ci95[1],
        mean=result.mean,
        mean_low=mean_low,
        mean_high=mean_high,
        std=result.std,
        worst_decile=float(worst_decile(result.returns)),
        change=float(differences.mean()),
        change_low=change_low,
        change_high=change_high,
    )
