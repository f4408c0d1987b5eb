"""Roll a policy out in many environments at once: returns with an interval, speed, policy share.

`rollout` takes anything that maps observations to actions: a compiled `Plan`, a Stable-Baselines3
model, a function. It needs NumPy and gymnasium (or EnvPool), never torch or SciPy.

Which episodes are counted. Of `n` environments, environment `i` plays the episodes `i, i + n,
i + 2n, ...` below `episodes`, and every one of them is played to its end. Taking the first
`episodes` that happen to finish would favour short episodes, for while one long episode runs many
short ones end. Environments whose quota is played go on idle until the last one is done.

Which seeds. Where `rollout` makes gymnasium environments itself, it also decides when they reset,
so episode `k` starts from a seed of its own, derived from `(seed, k)` alone. Two policies then meet
the same starts, and their returns may be compared pair by pair; and the episodes do not depend on
`num_envs`. A ready vector environment, a native one and EnvPool reset by themselves and draw from
one stream per environment: the same seed, `num_envs` and policy give the same episodes again, but
another policy meets other starts after the first `num_envs`. All of this holds for environments
whose `reset` forgets the past, as gymnasium asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from sparseagent.bootstrap import bootstrap_interval, iqm
from sparseagent.environments import (
    make_envpool,
    make_gymnasium,
    name_of,
    stream_seed,
)
from sparseagent.vector_envs import (
    FromVecEnv,
    as_vector_env,
    autoreset_mode,
    check_observations,
    is_envpool,
    space_of,
)

__all__ = ["Predictor", "RolloutResult", "rollout"]

Backend = Literal["gymnasium", "envpool"]
Vectorization = Literal["sync", "async", "native"]
_Choose = Callable[[Any, npt.NDArray[np.bool_]], Any]


class Predictor(Protocol):
    """Anything that decides like a Stable-Baselines3 model or a compiled `Plan`."""

    def predict(self, observation: Any, /, *, deterministic: bool) -> tuple[Any, Any]:
        """Map observations `[B, ...]` to (actions `[B, ...]`, recurrent state or None)."""


@dataclass(frozen=True, eq=False)
class RolloutResult:
    """What a rollout measured.

    Attributes:
        returns: Undiscounted return of each episode, float64 `[episodes]`, in episode order.
        lengths: Steps of each episode, int64 `[episodes]`.
        iqm: Interquartile mean of the returns (Agarwal et al., 2021).
        mean: Mean of the returns.
        std: Standard deviation of the returns over episodes (divisor `episodes`).
        ci95: 95 % bootstrap percentile interval of the IQM. `(r, r)` when all returns equal `r`,
            which is also the case for a single episode.
        seconds: Wall time from the first reset to the end of the last episode.
        policy_share: Share of `seconds` spent in the policy, in [0, 1].
        env_id: Name of the environment.
        num_envs: Environments stepped together: the batch the policy saw.
        seed: Seed of the episodes; None where they do not follow from it (a ready EnvPool).
    """

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    iqm: float
    mean: float
    std: float
    ci95: tuple[float, float]
    seconds: float
    policy_share: float
    env_id: str
    num_envs: int
    seed: int | None

    def __post_init__(self) -> None:
        self.returns.setflags(write=False)
        self.lengths.setflags(write=False)

    @property
    def steps(self) -> int:
        """Environment steps in the counted episodes."""
        return int(self.lengths.sum())

    @property
    def steps_per_second(self) -> float:
        """Counted environment steps per second of wall time, policy included."""
        return self.steps / self.seconds

    def __str__(self) -> str:
        low, high = self.ci95
        return (
            f"{self.env_id}: return {self.iqm:.1f} (IQM; 95 % interval {low:.1f} to {high:.1f}), "
            f"mean {self.mean:.1f}, standard deviation {self.std:.1f}\n"
            f"{len(self.returns):,} episodes, {self.steps:,} steps in {self.seconds:.2f} s: "
            f"{self.steps_per_second:,.0f} steps/s, {self.policy_share:.1%} of the time in the "
            f"policy ({self.num_envs} environments, seed {self.seed})"
        )


def rollout(
    act: Predictor | Callable[[Any], Any],
    env: Any,
    *,
    episodes: int = 100,
    num_envs: int = 8,
    seed: int = 0,
    max_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[Callable[[Any], Any]] = (),
    backend: Backend = "gymnasium",
    vectorization: Vectorization = "sync",
) -> RolloutResult:
    """Play whole episodes with a policy; see the module's text for quotas and seeds.

    Args:
        act: An object with `predict(obs, deterministic=True) -> (actions, state)`, or a function
            from observations `[B, ...]` to actions `[B, ...]`. `predict` wins where both exist: a
            `Plan` is callable too, but that gives the network's output before the action head.
            Actions are handed on unclipped.
        env: An environment id, or a ready environment, which is reset, stepped and left open: a
            gymnasium `Env` or `VectorEnv`, a Stable-Baselines3 `VecEnv` or one of EnvPool, of any
            autoreset mode. The statistics of a `VecNormalize` stay as they are meanwhile, and the
            rewards are those of the environment inside.
        episodes: How many episodes to play, at least 1.
        num_envs: Environments to step together, at least 1; never more than `episodes` are made.
            A ready environment has its own number.
        seed: Seed of the episodes and of the bootstrap, at least 0. A ready EnvPool environment has
            got its seed when it was made.
        max_steps: Longest episode. One that reaches it is cut off there and counted with what it
            has collected. Native, EnvPool and ready environments that reset by themselves refuse
            it: give them a limit where they are made (`env_kwargs`).
        env_kwargs: Arguments for making the environment from its id.
        wrappers: What to put around each gymnasium environment made from its id, innermost first:
            functions from an environment to an environment. Native ones cannot be wrapped.
        backend: What makes an environment from its id.
        vectorization: How gymnasium steps them: `"sync"` in this process, `"async"` with one
            process each, `"native"` through the vector entry point that a few ids register. The
            native CartPole and its like are much faster, but all their environments share one
            random stream, so that episodes depend on their neighbours: hence not the default.

    Returns:
        Returns and lengths per episode with their statistics, and the speed.

    Raises:
        ValueError: An argument is out of range, the id is unknown, or shapes do not fit.
        TypeError: `act` or `env` is none of the accepted kinds, or actions have the wrong type.
        ImportError: gymnasium or EnvPool is needed and not installed.
    """
    _check_counts(episodes=episodes, num_envs=num_envs, seed=seed, max_steps=max_steps)
    choose = as_choose(act)
    env_kwargs, owned = env_kwargs or {}, isinstance(env, str)
    if not isinstance(env, str):
        vec = as_vector_env(env, env_kwargs, wrappers)
    elif backend == "gymnasium":
        vec = make_gymnasium(env, min(num_envs, episodes), vectorization, env_kwargs, wrappers)
    elif backend == "envpool":
        if wrappers:
            raise ValueError("wrappers needs backend='gymnasium', got backend='envpool'")
        vec = make_envpool(env, min(num_envs, episodes), seed, env_kwargs)
    else:
        raise ValueError(f"backend must be 'gymnasium' or 'envpool', got {backend!r}")
    try:
        mode = autoreset_mode(vec)
        if max_steps is not None and mode != "Disabled":
            raise ValueError(
                "max_steps needs environments that rollout may reset, made by gymnasium from an id "
                f"or of autoreset mode Disabled, got {max_steps} with {name_of(vec)} of mode {mode}"
            )
        check_observations(act, vec)
        book = _Book(episodes, int(vec.num_envs), seed if owned and mode == "Disabled" else None)
        with vec.frozen() if isinstance(vec, FromVecEnv) else nullcontext():
            seconds, policy_seconds = _play(
                choose, vec, book, mode=mode, seed=seed, max_steps=max_steps
            )
    finally:
        if owned:
            vec.close()
    return RolloutResult(
        returns=book.returns,
        lengths=book.lengths,
        seconds=seconds,
        policy_share=policy_seconds / seconds,
        env_id=env if isinstance(env, str) else name_of(vec),
        num_envs=int(vec.num_envs),
        seed=int(seed) if owned or not is_envpool(vec) else None,
        **_summary(book.returns, seed),
    )


# ------------------------------------------------------------------------------------- policy


def as_choose(act: Any, *, deterministic: bool = True) -> _Choose:
    """One signature for all policies: (observations, which episodes begin) -> actions."""
    if not hasattr(act, "predict"):
        if not callable(act):
            raise TypeError(
                f"act must be callable or have a predict method, got {type(act).__name__}"
            )
        return lambda observation, _: act(observation)
    state: Any = None

    def choose(observation: Any, begins: npt.NDArray[np.bool_]) -> Any:
        nonlocal state
        memory = {} if state is None else {"state": state, "episode_start": begins}
        decision = act.predict(observation, deterministic=deterministic, **memory)
        if not (isinstance(decision, tuple) and len(decision) == 2):
            raise TypeError(
                f"act.predict must return (actions, state), got {type(decision).__name__}"
            )
        actions, state = decision
        return actions

    return choose


def _as_actions(actions: Any, num_envs: int, space: Any) -> Any:
    """Check a batch of actions against the space of one environment."""
    if space.shape is None:  # Dict, Tuple: the environment knows better
        return actions
    batch = np.asarray(actions)
    expected = (num_envs, *space.shape)
    if batch.shape != expected:
        raise ValueError(
            f"act must return actions of shape {expected} for {space}, got {batch.shape}"
        )
    if np.issubdtype(space.dtype, np.integer) and batch.dtype.kind not in "iub":
        raise TypeError(f"act must return integer actions for {space}, got {batch.dtype}")
    return batch


# --------------------------------------------------------------------------------------- loop


def _play(
    choose: _Choose, vec: Any, book: _Book, *, mode: str, seed: int, max_steps: int | None
) -> tuple[float, float]:
    """Play until the book is full; (seconds in all, seconds in the policy)."""
    n, space = int(vec.num_envs), space_of(vec, "action")
    begins = np.ones(n, dtype=np.bool_)  # the observation is the first of an episode
    stepped = np.ones(n, dtype=np.bool_)  # False where this step only resets (mode NextStep)
    clock = time.perf_counter_ns
    policy_ns = 0
    start = clock()
    # EnvPool was seeded when it was made.
    first = {} if is_envpool(vec) else {"seed": book.next_seeds() or stream_seed(seed)}
    observation, _ = vec.reset(**first)
    while True:
        before = clock()
        actions = choose(observation, begins)
        policy_ns += clock() - before
        observation, rewards, terminated, truncated, _ = vec.step(_as_actions(actions, n, space))
        ended = np.logical_or(terminated, truncated) & stepped
        ended |= book.add(rewards, stepped) >= (max_steps or np.inf)
        begins = ended
        if mode == "NextStep":
            begins, stepped = ~stepped, ~ended
        if ended.any():
            if book.close_episodes(ended):
                return (clock() - start) * 1e-9, policy_ns * 1e-9
            if mode == "Disabled":
                observation, _ = vec.reset(seed=book.next_seeds(), options={"reset_mask": ended})


class _Book:
    """Running sums per environment, and the finished episodes in their fixed order."""

    def __init__(self, episodes: int, num_envs: int, seed: int | None) -> None:
        self.returns = np.zeros(episodes)
        self.lengths = np.zeros(episodes, dtype=np.int64)
        self._seeds = (
            None if seed is None else np.random.SeedSequence(seed).generate_state(episodes).tolist()
        )
        self._episode = np.arange(num_envs)  # the one each environment plays; too large: idle
        self._return = np.zeros(num_envs)
        self._length = np.zeros(num_envs, dtype=np.int64)

    def add(self, rewards: npt.ArrayLike, stepped: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Count one step where one was made; the lengths so far `[num_envs]`."""
        np.add(self._return, rewards, out=self._return, where=stepped)
        self._length += stepped
        return self._length

    def close_episodes(self, ended: npt.NDArray[np.bool_]) -> bool:
        """Write down the episodes that ended; True once all are written."""
        written = ended & (self._episode < len(self.returns))
        self.returns[self._episode[written]] = self._return[written]
        self.lengths[self._episode[written]] = self._length[written]
        self._episode[ended] += len(ended)
        self._return[ended] = 0.0
        self._length[ended] = 0
        return bool((self._episode >= len(self.returns)).all())

    def next_seeds(self) -> list[int | None] | None:
        """The seed of the episode each environment plays; None goes on with its stream."""
        seeds = self._seeds
        if seeds is None:
            return None
        return [seeds[k] if k < len(seeds) else None for k in self._episode.tolist()]


def _summary(returns: npt.NDArray[np.float64], seed: int) -> dict[str, Any]:
    return {
        "iqm": float(iqm(returns)),
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "ci95": bootstrap_interval(returns, seed=seed),
    }


def _check_counts(*, episodes: int, num_envs: int, seed: int, max_steps: int | None) -> None:
    limits = [("episodes", episodes, 1), ("num_envs", num_envs, 1), ("seed", seed, 0)]
    if max_steps is not None:
        limits.append(("max_steps", max_steps, 1))
    for name, value, least in limits:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
