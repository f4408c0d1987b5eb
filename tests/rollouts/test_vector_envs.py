"""Rollouts in ready environments of gymnasium and Stable-Baselines3: equal returns everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toys import Balance, Cycle, gym, still

import sparseagent as sa
from sparseagent.rollouts import rollout

common = pytest.importorskip("stable_baselines3.common")

from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402


def test_a_single_environment_is_played_and_left_open() -> None:
    env = Cycle()
    result = rollout(still, env, episodes=6)
    np.testing.assert_array_equal(result.lengths, [1, 2, 3, 4, 1, 2])
    np.testing.assert_array_equal(result.returns, [1, 3, 6, 10, 1, 3])
    assert result.num_envs == 1
    env.reset()


def test_a_vec_env_counts_every_episode() -> None:
    vec = DummyVecEnv([lambda first=first: Cycle(first=first) for first in range(2)])
    ours = rollout(
        still,
        gym.vector.SyncVectorEnv([lambda first=first: Cycle(first=first) for first in range(2)]),
        episodes=8,
    )
    np.testing.assert_array_equal(rollout(still, vec, episodes=8).returns, ours.returns)


def test_a_vec_env_is_seeded() -> None:
    def play(seed: int) -> Any:
        vec = DummyVecEnv([lambda: gym.make("CartPole-v1")] * 3)
        return rollout(Balance(), vec, episodes=7, seed=seed)

    first, again, other = play(4), play(4), play(5)
    np.testing.assert_array_equal(first.returns, again.returns)
    assert not np.array_equal(first.returns, other.returns)
    assert first.env_id == "CartPole-v1"


def test_the_rewards_below_a_normaliser_count_and_its_statistics_stay() -> None:
    vec = VecNormalize(DummyVecEnv([Cycle]), norm_obs=True)
    before = vec.obs_rms.count, vec.ret_rms.count
    result = rollout(still, vec, episodes=4)
    np.testing.assert_array_equal(result.returns, [1, 3, 6, 10])
    assert (vec.obs_rms.count, vec.ret_rms.count) == before
    assert vec.training


def test_observations_are_not_normalised_twice() -> None:
    layer = sa.Layer(np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    step = sa.Observation.normalise(np.zeros(2), np.ones(2), eps=1e-8, clip=10.0)
    act = sa.compile(sa.SparsePolicy(sa.chain((layer,), step), sa.Argmax()))
    inner = DummyVecEnv([Cycle])
    with pytest.raises(ValueError, match="the policy normalises them itself"):
        rollout(act, VecNormalize(inner), episodes=1)
    assert rollout(act, VecNormalize(inner, norm_obs=False), episodes=1).lengths[0] == 1
