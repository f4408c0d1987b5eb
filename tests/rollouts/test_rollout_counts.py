"""Which transitions and episodes a rollout counts."""

from __future__ import annotations

import numpy as np
import pytest
from toys import (
    CYCLE,
    MODES,
    AutoresetMode,
    Balance,
    Cycle,
    PoisonedReset,
    SyncVectorEnv,
    cycles,
    gym,
    still,
)

from sparseagent.rollouts import RolloutResult, rollout


@pytest.mark.parametrize("mode", MODES)
def test_lengths_and_returns_are_those_of_the_toy(mode: AutoresetMode) -> None:
    env = cycles(2, mode)
    result = rollout(still, env, episodes=10)
    # Environment i plays the episodes i, i + 2, ...: each length appears twice running.
    assert result.lengths.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 1, 1]
    assert result.returns.tolist() == [1, 1, 3, 3, 6, 6, 10, 10, 1, 1]
    assert result.steps == 22
    assert not env.closed  # a ready environment is left open


def test_next_step_ignores_what_the_resetting_transition_pays() -> None:
    result = rollout(still, PoisonedReset(cycles(3, AutoresetMode.NEXT_STEP)), episodes=9)
    assert result.returns.tolist() == [1, 1, 1, 3, 3, 3, 6, 6, 6]


@pytest.mark.parametrize("mode", MODES)
def test_actions_reach_the_environment_they_were_chosen_for(mode: AutoresetMode) -> None:
    # Pays 1 more in each first step. An action one step late or early would pay elsewhere.
    result = rollout(lambda obs: (obs[:, 0] == 0).astype(int), cycles(2, mode), episodes=8)
    assert result.returns.tolist() == [2, 2, 4, 4, 7, 7, 11, 11]


@pytest.mark.parametrize("mode", MODES)
def test_quota_does_not_favour_short_episodes(mode: AutoresetMode) -> None:
    # One environment has episodes of 1 step, the other of 50: half of the result each.
    env = SyncVectorEnv(
        [lambda: Cycle(period=1), lambda: Cycle(period=50, first=49)], autoreset_mode=mode
    )
    result = rollout(still, env, episodes=2)
    assert result.lengths.tolist() == [1, 50]
    env = SyncVectorEnv([lambda: Cycle(period=1), lambda: Cycle(period=1)], autoreset_mode=mode)
    assert rollout(still, env, episodes=5).lengths.tolist() == [1] * 5


def test_three_autoreset_modes_play_the_same_cartpole_episodes() -> None:
    def play(mode: AutoresetMode) -> RolloutResult:
        env = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 5, autoreset_mode=mode)
        result = rollout(Balance(), env, episodes=23, seed=3)
        env.close()
        return result

    results = [play(mode) for mode in MODES]
    assert len(set(results[0].lengths.tolist())) > 5
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].returns, other.returns)
        np.testing.assert_array_equal(results[0].lengths, other.lengths)


def test_ready_environment_with_more_environments_than_episodes() -> None:
    result = rollout(still, cycles(6, AutoresetMode.SAME_STEP), episodes=2, num_envs=1)
    assert result.returns.tolist() == [1, 1]
    assert result.num_envs == 6


def test_max_steps_cuts_episodes_off() -> None:
    result = rollout(still, cycles(2, AutoresetMode.DISABLED), episodes=8, max_steps=3)
    assert result.lengths.tolist() == [1, 1, 2, 2, 3, 3, 3, 3]
    assert result.returns.tolist() == [1, 1, 3, 3, 6, 6, 6, 6]
    assert rollout(Balance(), "CartPole-v1", episodes=5, max_steps=7).lengths.tolist() == [7] * 5


def test_env_kwargs_reach_the_environment() -> None:
    result = rollout(still, CYCLE, episodes=4, num_envs=1, env_kwargs={"period": 2})
    assert result.lengths.tolist() == [1, 2, 1, 2]
