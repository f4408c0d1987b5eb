"""A toy environment whose return is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

gym = pytest.importorskip("gymnasium")

SLOPE = "SparseagentSlope-v0"
STEPS = 20


class Slope(gym.Env[Any, Any]):
    """Twenty steps; each pays `gain * action - cost * start`. The start is drawn, then stays.

    An observation is (start, step, 7): the first varies over episodes only, the second within an
    episode from 0 to 19, the third never.
    """

    observation_space = gym.spaces.Box(-10.0, 100.0, (3,), np.float32)
    action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, gain: float = 3.0) -> None:
        self.gain, self.cost = gain, 2.0

    def _observe(self) -> Any:
        return np.array([self.start, self.t, 7.0], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.start, self.t = float(self.np_random.integers(0, 4)), 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        paid = self.gain * float(action[0]) - self.cost * self.start
        return self._observe(), paid, self.t == STEPS, False, {}


def constant(observation: Any) -> Any:
    """Acts the same whatever it sees."""
    return np.full((len(observation), 1), 0.5, dtype=np.float32)


def echo(observation: Any) -> Any:
    """Acts what it sees in the second place, so that noise there enters the return linearly."""
    return observation[:, 1:2]
