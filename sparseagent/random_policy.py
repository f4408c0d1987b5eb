"""The policy that knows nothing: the zero of normalised returns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparseagent.environments import make_gymnasium
from sparseagent.vector_envs import space_of

__all__ = ["random_policy"]


def random_policy(
    env: str, *, seed: int = 0, env_kwargs: Mapping[str, Any] | None = None
) -> Callable[[Any], Any]:
    """A policy that draws each action from the action space, whatever it observes.

        random = sa.rollout(random_policy(env), env, episodes=1000).mean

    It goes on with one stream: make a new one for each rollout that is to be repeated. The same
    seed, `num_envs` and `episodes` then give the same returns.

    Args:
        env: Environment id.
        seed: Seed of the actions, at least 0.
        env_kwargs: Arguments for making the environment.

    Returns:
        Observations `[B, ...]` -> actions `[B, *shape]`.

    Raises:
        ValueError: gymnasium cannot make the environment.
        ImportError: gymnasium is not installed.
    """
    vec = make_gymnasium(env, 1, "sync", env_kwargs or {})
    space = copy.deepcopy(space_of(vec, "action"))
    vec.close()
    space.seed(seed)

    def act(observation: Any) -> Any:
        return np.stack([space.sample() for _ in range(len(observation))])

    return act
