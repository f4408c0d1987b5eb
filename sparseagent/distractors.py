"""Environments with inputs that tell nothing: gymnasium wrappers that add features and mix them in.

Their ids name what is added: `sparseagent/CartPole-Noise200-v1` is CartPole-v1 with 200 features of
white noise, `sparseagent/CartPole-Foreign50-v1` the same on one bus with 50 other CartPoles whose
states it sees as well. Any gymnasium environment with a flat box of observations can be named so.

What is added has random numbers of its own, seeded by `reset(seed)`: with equal seeds the
environment inside starts, and goes on, as it does without the wrapper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

# No colon: gymnasium imports the module that stands before one.
_ID = re.compile(r"sparseagent/(\w[\w.-]*)-(Noise|Foreign)([1-9]\d*)-(v\d+)", re.ASCII)
_STREAM = 0x64697374  # keeps what is added apart from the environment, which has the same seed
# Steps that foreign machines have made where an episode begins: some episodes of random actions.
_WARM_UP = 64

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Distraction:
    """What an id of this module asks for.

    Attributes:
        base: Id of the environment inside.
        kind: `"Noise"` or `"Foreign"`.
        count: Features of noise, or foreign machines.
    """

    base: str
    kind: str
    count: int


def parse_distraction(env_id: str) -> Distraction | None:
    """What an id asks for; None for an id of another form."""
    found = _ID.fullmatch(env_id)
    if found is None:
        return None
    name, kind, count, version = found.groups()
    return Distraction(f"{name}-{version}", kind, int(count))


def make_distracted(base: str, kind: str, count: int, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """The environment of a `Distraction`; other arguments go to the environment inside."""
    env = gymnasium.make(base, **kwargs)
    return Noise(env, count) if kind == "Noise" else Foreign(env, count)


class Distracted(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Appends features to each observation and hands all of them out in a fixed order.

    The order is the same for all environments of a size, in training and in test.

    Args:
        env: An environment whose observations are a flat box.
        low: Least value of each added feature, `[added]`.
        high: Largest value of each added feature, `[added]`.
        added: Name of each added feature.

    Attributes:
        real: Places of the inputs of the environment inside, in its own order.
        added: Names of the added features, before they are mixed.

    Raises:
        TypeError: Observations are something else.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], low: Floats, high: Floats, added: Iterable[str]
    ) -> None:
        super().__init__(env)
        self.added = tuple(added)
        inner = _flat_box(env)
        own = inner.shape[0]
        # The legacy generator, for its numbers never change: a saved policy depends on them.
        self._order = np.random.RandomState(0).permutation(own + len(low))
        self.real = tuple(int(place) for place in np.argsort(self._order)[:own])
        self.observation_space = gymnasium.spaces.Box(
            np.concatenate([inner.low, low]).astype(np.float32)[self._order],
            np.concatenate([inner.high, high]).astype(np.float32)[self._order],
            dtype=np.float32,
        )
        self._random = np.random.default_rng()

    def named(self, inside: Sequence[str]) -> tuple[str, ...]:
        """Names of all features in the order in which they are handed out.

        Args:
            inside: Those of the environment inside.
        """
        names = (*inside, *self.added)
        return tuple(names[place] for place in self._order)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode; with a seed, what is added begins anew as well."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._random = np.random.default_rng([seed, _STREAM])
        return self._mixed(observation, self._first(seeded=seed is not None)), info

    def step(self, action: Any) -> tuple[Floats, Any, bool, bool, dict[str, Any]]:
        """One step of the environment, and of what is added."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._mixed(observation, self._next()), reward, terminated, truncated, info

    def _mixed(self, observation: Any, added: Floats) -> Floats:
        together = np.concatenate([np.asarray(observation, np.float32), added])
        return together[self._order]

    def _first(self, *, seeded: bool) -> Floats:
        """What is added to the first observation of an episode, `[added]`."""
        return self._next()

    def _next(self) -> Floats:
        """What is added to the next observation, `[added]`."""
        raise NotImplementedError


class Noise(Distracted):
    """Adds independent standard normal numbers, new ones at each step.

    Source: Grooten et al., "Automatic Noise Filtering with Dynamic Sparse Training in Deep
    Reinforcement Learning", 2023.

    Args:
        env: The environment inside.
        count: Features to add, at least 1.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], count: int) -> None:
        endless = np.full(count, np.inf, np.float32)
        super().__init__(env, -endless, endless, (f"noise {n}" for n in range(count)))
        self._count = count

    def _next(self) -> Floats:
        return self._random.standard_normal(self._count, dtype=np.float32)


class Foreign(Distracted):
    """Adds what other machines of the same kind observe, each driven by random actions.

    As on one bus that many machines share: the added features have the scales and the correlations
    of the real ones, but nothing that the agent does moves them. They run on where an episode of
    the agent's own machine ends, and each begins anew where its own does.

    Args:
        env: The environment inside; its actions are discrete.
        count: Other machines, at least 1.

    Raises:
        TypeError: Actions are not discrete.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], count: int) -> None:
        inner = _flat_box(env)
        spec = env.unwrapped.spec  # `env.spec` would be remembered, and hide the id of the whole
        assert spec is not None
        if not isinstance(env.action_space, gymnasium.spaces.Discrete):
            raise TypeError(f"env: expected discrete actions, got {env.action_space}")
        own = range(inner.shape[0])
        names = [f"machine {machine}, {place}" for machine in range(count) for place in own]
        super().__init__(env, np.tile(inner.low, count), np.tile(inner.high, count), names)
        self._machines = _machines(spec.id, count)
        self._actions = int(env.action_space.n)
        self._started = False

    def _first(self, *, seeded: bool) -> Floats:
        if seeded or not self._started:
            self._started = True
            self._machines.reset(seed=int(self._random.integers(2**31)))
            for _ in range(_WARM_UP):
                self._next()
        return self._next()

    def _next(self) -> Floats:
        actions = self._random.integers(self._actions, size=self._machines.num_envs)
        observations = self._machines.step(actions)[0]
        return np.asarray(observations, np.float32).reshape(-1)

    def close(self) -> None:
        """Close all machines."""
        self._machines.close()
        super().close()


def _flat_box(env: gymnasium.Env[Any, Any]) -> gymnasium.spaces.Box:
    space = env.observation_space
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise TypeError(f"env: expected observations in a flat Box, got {space}")
    return space


def _machines(env_id: str, count: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """Machines that are stepped together, and that can be pickled."""
    if gymnasium.spec(env_id).vector_entry_point is not None:  # takes a tenth of the time
        return gymnasium.make_vec(env_id, count, vectorization_mode="vector_entry_point")
    return gymnasium.vector.SyncVectorEnv([partial(gymnasium.make, env_id)] * count)
