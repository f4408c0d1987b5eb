"""Toy environments and policies; a test that imports them needs gymnasium."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

gym = pytest.importorskip("gymnasium")

from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper  # noqa: E402

MODES = list(AutoresetMode)
CYCLE = "SparseagentCycle-v0"
DRAW = "SparseagentDraw-v0"


class Cycle(gym.Env[Any, Any]):
    """Episodes of 1, 2, ..., `period` steps in turn; step `t` of an episode pays `t + action`."""

    observation_space = gym.spaces.Box(0.0, 100.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, period: int = 4, first: int = 0) -> None:
        self.period, self.episode, self.t = period, first - 1, 0

    def _observe(self) -> Any:
        return np.array([self.t, self.episode % self.period], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        over = self.t > self.episode % self.period
        return self._observe(), float(self.t + action), over, False, {}


class Draw(gym.Env[Any, Any]):
    """The start and every step draw from the generator; lengths vary from 1 to 30."""

    observation_space = gym.spaces.Box(-100.0, 100.0, (1,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 31))
        self.x = self.np_random.normal(size=1)
        return self.x.copy(), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        self.x = 0.9 * self.x + action + 0.1 * self.np_random.normal(size=1)
        return self.x.copy(), float(-(self.x[0] ** 2)), self.left == 0, False, {}


class PoisonedReset(VectorWrapper):
    """Pays NaN and says "over" on the transitions of NEXT_STEP that only reset."""

    def reset(self, **kwargs: Any) -> Any:
        self.over = np.zeros(self.num_envs, dtype=bool)
        return self.env.reset(**kwargs)

    def step(self, actions: Any) -> Any:
        resets = self.over
        observation, rewards, terminated, truncated, info = self.env.step(actions)
        self.over = terminated | truncated
        rewards = np.where(resets, np.nan, rewards)
        return observation, rewards, terminated | resets, truncated, info


class Still:
    """A policy with `predict` that is callable too, and then gives something useless."""

    def __call__(self, observation: Any) -> Any:
        raise AssertionError("predict must win over calling")

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        assert deterministic
        return np.zeros(len(observation), dtype=np.int64), None


class Balance:
    """Balances CartPole for some tens of steps: pushes where the pole leans, ignores its speed."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        return (observation[:, 2] > 0).astype(np.int64), None


def still(observation: Any) -> Any:
    return np.zeros(len(observation), dtype=np.int64)


def damp(observation: Any) -> Any:
    return -0.5 * observation


def cycles(num_envs: int, mode: AutoresetMode, **kwargs: Any) -> Any:
    return SyncVectorEnv([lambda: Cycle(**kwargs)] * num_envs, autoreset_mode=mode)
