"""Which seeds a rollout uses, and which episodes repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toys import (
    DRAW,
    MODES,
    AutoresetMode,
    Balance,
    Draw,
    SyncVectorEnv,
    damp,
)

from sparseagent.rollouts import rollout


def test_equal_seeds_equal_episodes_and_others_others() -> None:
    first, second, third = (rollout(damp, DRAW, episodes=30, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(first.returns, second.returns)
    assert first.ci95 == second.ci95
    assert not set(first.returns.tolist()) & set(third.returns.tolist())


@pytest.mark.parametrize("mode", MODES)
def test_ready_environments_are_seeded_too(mode: AutoresetMode) -> None:
    env = SyncVectorEnv([Draw] * 3, autoreset_mode=mode)
    first, second, third = (rollout(damp, env, episodes=12, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(first.returns, second.returns)
    # Neighbouring seeds share no stream, as seed, seed + 1, ... for the environments would.
    assert not set(first.returns.tolist()) & set(third.returns.tolist())


def test_episodes_do_not_depend_on_the_number_of_environments_or_on_the_other_episodes() -> None:
    wide = rollout(damp, DRAW, episodes=20, num_envs=8, seed=1)
    for num_envs, episodes in ((1, 20), (3, 20), (4, 13)):
        narrow = rollout(damp, DRAW, episodes=episodes, num_envs=num_envs, seed=1)
        np.testing.assert_array_equal(narrow.returns, wide.returns[:episodes])


def test_two_policies_meet_the_same_starts() -> None:
    def starts(gain: float) -> list[float]:
        seen: list[float] = []

        def act(observation: Any) -> Any:
            seen.extend(observation[:, 0].tolist())
            return gain * observation

        rollout(act, DRAW, episodes=6, num_envs=6, seed=5, max_steps=1)
        return seen

    assert starts(-0.5) == starts(0.3)


def test_async_environments_play_the_same_episodes() -> None:
    kwargs: dict[str, Any] = {"episodes": 5, "num_envs": 2, "seed": 2}
    sync = rollout(Balance(), "CartPole-v1", **kwargs)
    parallel = rollout(Balance(), "CartPole-v1", vectorization="async", **kwargs)
    np.testing.assert_array_equal(sync.returns, parallel.returns)


def test_native_environments_repeat() -> None:
    results = [
        rollout(Balance(), "CartPole-v1", vectorization="native", episodes=9, num_envs=4, seed=2)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(results[0].returns, results[1].returns)
    np.testing.assert_array_equal(results[0].returns, results[0].lengths)  # 1 a step, none more
