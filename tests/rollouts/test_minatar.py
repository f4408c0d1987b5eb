"""MinAtar's games, which the package does not make known to gymnasium."""

from __future__ import annotations

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("minatar")

from sparseagent.environments import register_environment  # noqa: E402
from sparseagent.rollouts import rollout  # noqa: E402


@pytest.mark.parametrize(
    ("env_id", "features", "actions"),
    [
        ("MinAtar/Breakout-v1", 10 * 10 * 4, 3),
        ("MinAtar/Asterix-v1", 10 * 10 * 4, 5),
        ("MinAtar/SpaceInvaders-v1", 10 * 10 * 6, 4),
    ],
)
def test_planes_are_flat_floats(env_id, features, actions):
    register_environment(env_id)
    env = gymnasium.make(env_id)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.shape == observation.shape == (features,)
    assert observation.dtype == np.float32
    assert set(np.unique(observation)) == {0.0, 1.0}
    assert env.action_space.n == actions
    env.close()


def test_registering_twice_and_other_names_change_nothing():
    register_environment("MinAtar/Breakout-v1")
    spec = gymnasium.registry["MinAtar/Breakout-v1"]
    register_environment("MinAtar/Breakout-v1")
    assert gymnasium.registry["MinAtar/Breakout-v1"] is spec
    known = set(gymnasium.registry)
    for name in ("MinAtar/Chess-v1", "MinAtar/Breakout-v7", "CartPole-v1"):
        register_environment(name)
    assert set(gymnasium.registry) == known


def test_reset_forgets_the_last_action():
    register_environment("MinAtar/Breakout-v1")
    env = gymnasium.make("MinAtar/Breakout-v1")
    env.reset(seed=0)
    while env.unwrapped.game.last_action == 0:
        env.step(2)
    env.reset(seed=1)
    assert env.unwrapped.game.last_action == 0
    env.close()


def test_a_rollout_needs_the_name_alone():
    def act(observation):
        return np.zeros(len(observation), np.int64)

    few = rollout(act, "MinAtar/Breakout-v1", episodes=6, num_envs=2, seed=3)
    many = rollout(act, "MinAtar/Breakout-v1", episodes=6, num_envs=6, seed=3)
    assert few.returns.tolist() == many.returns.tolist()
    assert few.lengths.tolist() == many.lengths.tolist()


def test_an_unknown_game_is_gymnasiums_error():
    with pytest.raises(ValueError, match="gymnasium cannot make 'MinAtar/Chess-v1'"):
        rollout(lambda observation: observation, "MinAtar/Chess-v1", episodes=1)
