"""Inputs that tell nothing: seeded, apart from the environment inside, the same everywhere."""

from __future__ import annotations

import pickle

import gymnasium
import numpy as np
import pytest

import sparseagent as sa
from sparseagent.distractors import parse_distraction
from sparseagent.environments import base_environment, register_environment
from sparseagent.random_policy import random_policy
from sparseagent.rollouts import rollout

NOISE, FOREIGN = "sparseagent/CartPole-Noise20-v1", "sparseagent/CartPole-Foreign5-v1"
ACROBOT = "sparseagent/Acrobot-Foreign3-v1"  # without a vector environment of its own
ALL = pytest.mark.parametrize("env_id", [NOISE, FOREIGN, ACROBOT])


def _make(env_id):
    register_environment(env_id)
    return gymnasium.make(env_id)


def _play(env, seed, steps=40):
    observation, _ = env.reset(seed=seed)
    seen = [observation]
    for step in range(steps):
        observation, _, terminated, truncated, _ = env.step(step % 2)
        seen.append(observation)
        if terminated or truncated:
            seen.append(env.reset()[0])
    return np.stack(seen)


@ALL
def test_it_is_what_its_id_says(env_id):
    env = _make(env_id)
    inner = gymnasium.make(base_environment(env_id)).observation_space.shape[0]
    added = {NOISE: 20, FOREIGN: 20, ACROBOT: 18}[env_id]
    assert env.spec.id == env_id
    assert env.observation_space.shape == (inner + added,)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation.dtype == np.float32
    real = env.get_wrapper_attr("real")
    assert len(set(real)) == inner
    # Mixed: not the first places in their order.
    assert real != tuple(range(inner))


@ALL
def test_the_environment_inside_is_as_without(env_id):
    env, plain = _make(env_id), gymnasium.make(base_environment(env_id))
    mixed, alone = _play(env, 7), _play(plain, 7)
    assert np.array_equal(mixed[:, list(env.get_wrapper_attr("real"))], alone)


@ALL
def test_equal_seeds_equal_observations_whatever_came_before(env_id):
    first, second = _make(env_id), _make(env_id)
    _play(second, 99, steps=13)
    assert np.array_equal(_play(first, 3), _play(second, 3))
    assert not np.array_equal(_play(first, 3), _play(first, 4))


@ALL
def test_a_pickled_one_goes_on_alike(env_id):
    env = _make(env_id)
    env.reset(seed=5)
    env.step(0)
    copy = pickle.loads(pickle.dumps(env))
    for action in (0, 1, 1, 0):
        assert np.array_equal(env.step(action)[0], copy.step(action)[0])


def test_noise_is_standard_normal_and_new_each_step():
    env = _make(NOISE)
    noise = np.delete(_play(env, 1, steps=3000), list(env.get_wrapper_attr("real")), axis=1)
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.06


def test_foreign_machines_look_like_the_real_one_and_run_on():
    env = _make(FOREIGN)
    real = list(env.get_wrapper_attr("real"))
    before, _ = env.reset(seed=2)
    foreign = np.delete(before, real)
    # They have been running: not all are at a start, as the agent's own is.
    assert np.abs(foreign).max() > 0.05 > np.abs(before[real]).max()
    assert np.abs(np.diff(np.delete(_play(env, 2), real, axis=1), axis=0)).max() < 5
    states = {tuple(np.delete(env.step(0)[0], real)), tuple(np.delete(env.reset()[0], real))}
    assert len(states) == 2
    moved = [np.delete(_step(env, action), real) for action in (0, 1)]
    assert np.array_equal(*moved)  # what the agent does moves none of them


def _step(env, action):
    env.reset(seed=8)
    return env.step(action)[0]


def test_the_order_is_the_same_for_ever():
    env = _make(NOISE)
    assert env.get_wrapper_attr("real") == (20, 5, 13, 19)


@ALL
def test_a_rollout_does_not_depend_on_the_number_of_environments(env_id):
    def act(observation):
        return (observation.sum(axis=1) > 0).astype(int)

    few = rollout(act, env_id, episodes=4, num_envs=2, seed=3, max_steps=30)
    many = rollout(act, env_id, episodes=4, num_envs=4, seed=3, max_steps=30)
    assert np.array_equal(few.returns, many.returns)
    assert random_policy(env_id)(np.zeros((3, 1))).shape == (3,)


def test_physics_can_be_disturbed_inside():
    from sparseagent.robustness import parameters_of

    assert parameters_of(NOISE) == parameters_of("CartPole-v1")

    def act(observation):
        return np.zeros(len(observation), int)

    table = sa.robustness.robustness(act, NOISE, episodes=2, noise_levels=())
    assert {row.disturbance for row in table.rows} >= {"pole length", "push force"}


@pytest.mark.parametrize(
    "name",
    [
        "sparseagent/CartPole-Noise0-v1",
        "sparseagent/CartPole-Static3-v1",
        "sparseagent/Nothing-Noise3-v1",
        "other/CartPole-Noise3-v1",
    ],
)
def test_other_ids_are_refused_by_gymnasium(name):
    register_environment(name)
    with pytest.raises(gymnasium.error.Error):
        gymnasium.make(name)


def test_an_id_imports_nothing():
    assert parse_distraction("sparseagent/os:CartPole-Noise3-v1") is None


def test_only_flat_boxes_and_foreign_ones_with_discrete_actions():
    register_environment("sparseagent/Blackjack-Noise3-v1")
    with pytest.raises(TypeError, match="env: expected observations in a flat Box"):
        gymnasium.make("sparseagent/Blackjack-Noise3-v1")
    register_environment("sparseagent/Pendulum-Foreign3-v1")
    with pytest.raises(TypeError, match="env: expected discrete actions"):
        gymnasium.make("sparseagent/Pendulum-Foreign3-v1")
