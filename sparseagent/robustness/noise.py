"""Gaussian noise on what a policy observes, in units of each observation's standard deviation.

The noise of an episode follows from the seed of that episode alone. So all agents, at all levels,
meet the same standard normal numbers in the same steps, only scaled; and the number of environments
that are stepped together changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from sparseagent.robustness.disturbance import Disturbance, Setting
from sparseagent.rollouts import rollout

Array = npt.NDArray[np.float64]

#: Standard deviations of the noise, as shares of the observations' standard deviations.
NOISE_LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0)
_STREAM = 0x6E6F697365  # keeps the noise apart from the environment, which has the same seed


def observation_noise(
    std: npt.ArrayLike, levels: Sequence[float] = NOISE_LEVELS, *, name: str = "observation noise"
) -> Disturbance:
    """Gaussian noise with the standard deviation `level * std` on each entry of an observation.

    Noisy observations are not clipped to the bounds of their space. Integers and booleans become
    float32.

    Args:
        std: Standard deviation of each entry `[*shape]`, at least 0, as `observation_std` measures.
        levels: Rising and at least 0; 0 is no noise.
        name: Name of the disturbance.

    Raises:
        ValueError: A number is negative or not finite.
    """
    scale = np.array(std, dtype=np.float64)
    if not (np.isfinite(scale) & (scale >= 0)).all():
        raise ValueError(f"std must be finite and at least 0, got {scale.tolist()}")
    if any(level < 0 for level in levels):
        raise ValueError(f"levels must be at least 0, got {tuple(levels)}")

    def setting(level: float) -> Setting:
        return Setting(wrappers=(lambda env: _NoisyObservation(env, level * scale),))

    return Disturbance(name, tuple(map(float, levels)), 0.0, setting)


def observation_std(
    acts: Sequence[Any],
    env: str,
    *,
    episodes: int = 20,
    num_envs: int = 8,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Array:
    """Standard deviation of each entry of the observations that policies act upon.

    Agents that are compared must meet the same noise: give them all, and hand the result to each
    `robustness`.

    Args:
        acts: Policies as `rollout` takes them, at least one; their observations are pooled.
        env: Environment id.
        episodes: Episodes of each policy, at least 1.
        num_envs: Environments stepped together; it does not change the result.
        seed: Seed of the episodes.
        env_kwargs: Arguments for making the environment.

    Returns:
        Float64 `[*shape]`, exactly 0 for entries that never change.

    Raises:
        ValueError: There is no policy, or `rollout` refuses an argument.
        TypeError: Observations are not arrays of numbers.
    """
    if not acts:
        raise ValueError("acts must hold at least one policy, got none")
    moments = []
    for act in acts:
        watch = Watch()
        rollout(
            act,
            env,
            episodes=episodes,
            num_envs=num_envs,
            seed=seed,
            env_kwargs=env_kwargs,
            wrappers=(watch,),
        )
        moments.append(watch.moments())
    return _pooled(moments).std()


class Watch:
    """A wrapper for `rollout` that keeps the moments of the observations acted upon."""

    def __init__(self) -> None:
        self._episodes: dict[int, _Moments] = {}

    def __call__(self, env: Any) -> Any:
        """Put the recorder around one environment."""
        return _Watched(env, self._episodes)

    def moments(self) -> _Moments:
        """Those of all episodes, joined in an order that does not depend on who played them."""
        return _pooled([self._episodes[seed] for seed in sorted(self._episodes)])

    def std(self) -> Array:
        """Standard deviation of each entry, `[*shape]`."""
        return self.moments().std()


class _Moments:
    """Count, mean and squared deviations, updated one by one (Welford, 1962)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.mean = np.zeros(shape)
        self.squares = np.zeros(shape)

    def add(self, value: Array) -> None:
        self.count += 1
        step = value - self.mean
        self.mean = self.mean + step / self.count
        self.squares = self.squares + step * (value - self.mean)

    def join(self, other: _Moments) -> None:
        """Take in the moments of other values (Chan, Golub and LeVeque, 1983)."""
        count = self.count + other.count
        step = other.mean - self.mean
        self.mean = self.mean + step * (other.count / count)
        self.squares = self.squares + other.squares + step**2 * (self.count * other.count / count)
        self.count = count

    def std(self) -> Array:
        deviation: Array = np.sqrt(self.squares / self.count)
        return deviation


def _pooled(parts: Sequence[_Moments]) -> _Moments:
    whole = _Moments(parts[0].mean.shape)
    for part in parts:
        whole.join(part)
    return whole


class _Watched(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records the observation before each step, in the episodes that have a seed."""

    def __init__(self, env: Any, episodes: dict[int, _Moments]) -> None:
        super().__init__(env)
        _require_numbers(env.observation_space)
        self._episodes = episodes
        self._episode: _Moments | None = None
        self._observation: Array | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = self.env.reset(seed=seed, options=options)
        # An environment whose quota is played goes on without a seed: that counts for nothing.
        self._episode = None
        if seed is not None:
            shape = np.shape(observation)
            self._episode = self._episodes.setdefault(seed, _Moments(shape))
        self._observation = np.asarray(observation, dtype=np.float64)
        return observation, info

    def step(self, action: Any) -> Any:
        if self._episode is not None and self._observation is not None:
            self._episode.add(self._observation)
        result = self.env.step(action)
        self._observation = np.array(result[0], dtype=np.float64)
        return result


class _NoisyObservation(gymnasium.ObservationWrapper[Any, Any, Any]):
    def __init__(self, env: Any, std: Array) -> None:
        super().__init__(env)
        space = env.observation_space
        _require_numbers(space)
        if std.shape not in ((), space.shape):
            raise ValueError(
                f"std must have the observations' shape {space.shape}, got {std.shape}"
            )
        self._dtype = space.dtype if space.dtype.kind == "f" else np.dtype(np.float32)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, space.shape, self._dtype)
        self._std = std
        self._random = np.random.default_rng(_STREAM)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self._random = np.random.default_rng([seed, _STREAM])
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Any) -> Any:
        noise = self._std * self._random.standard_normal(np.shape(observation))
        return (observation + noise).astype(self._dtype)


def _require_numbers(space: Any) -> None:
    if not isinstance(space, gymnasium.spaces.Box):
        raise TypeError(f"observation noise needs observations of a Box, got {space}")
