"""collect: what is kept of a step, in every autoreset mode, and advantages on a known answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toys import MODES, Cycle, gym

import sparseagent as sa
from sparseagent.ops import Linear
from sparseagent.program import Program, Span


class Cut(gym.Wrapper[Any, Any, Any, Any]):
    """Episodes are cut off where they would have ended."""

    def step(self, action: Any) -> Any:
        observation, reward, over, _, info = self.env.step(action)
        return observation, reward, False, over, info


def cycles(mode: Any, *, cut: bool = False) -> Any:
    make = [lambda first=k: Cut(Cycle(first=first)) if cut else Cycle(first=first) for k in (0, 1)]
    return gym.vector.SyncVectorEnv(make, autoreset_mode=mode)


@pytest.fixture(scope="module")
def plan() -> sa.Plan:
    """Two actions of equal probability; the value is the time in the episode, times ten."""
    observe = sa.Observation((2,))
    logits = sa.Layer(np.zeros((2, 2), np.float32), np.zeros(2, np.float32))
    chain = sa.chain((logits,), observe)
    source, value = chain.ops[0].writes[0], Span("value", 0, 1)
    layer = sa.Layer(np.array([[10, 0]], np.float32), np.zeros(1, np.float32))
    program = Program(
        {**chain.slots, "value": 1},
        (*chain.ops, Linear((source,), (value,), layer)),
        {**chain.outputs, "value": value},
    )
    return sa.compile(sa.SparsePolicy(program, sa.Categorical()))


@pytest.mark.parametrize("mode", MODES)
def test_what_is_kept_of_a_step(plan: sa.Plan, mode: Any) -> None:
    got = sa.collect(plan, cycles(mode), 20)
    assert got.observations.shape == (20, 2, 2)
    # Episodes of 1, 2, 3, 4 steps in turn: time counts up from 0 at every start.
    time = got.observations[..., 0]
    assert (time[got.episode_starts] == 0).all()
    assert (got.rewards == np.where(got.valid, time + 1 + got.actions, 0)).all()
    assert (got.values == 10 * time).all()
    assert np.allclose(got.log_probs, np.log(0.5))
    following = (time[:-1] + 1)[got.valid[:-1] & ~got.terminated[:-1]]
    assert (following == time[1:][got.valid[:-1] & ~got.terminated[:-1]]).all()
    assert not got.truncated.any()
    assert not got.final_values.any()
    assert got.valid.all() == (mode.value != "NextStep")
    # Each environment plays on where its first episode was: 1 + 2 + 3 + 4 steps are a cycle.
    lengths = np.diff(np.flatnonzero(got.episode_starts[:, 0]))
    extra = int(mode.value == "NextStep")
    assert lengths.tolist()[:4] == [1 + extra, 2 + extra, 3 + extra, 4 + extra]


@pytest.mark.parametrize("mode", MODES)
def test_the_value_of_what_an_episode_was_cut_off_at(plan: sa.Plan, mode: Any) -> None:
    got = sa.collect(plan, cycles(mode, cut=True), 20)
    assert not got.terminated.any()
    time = got.observations[..., 0]
    assert (got.final_values == np.where(got.truncated, 10 * (time + 1), 0)).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_collection_in_parts_is_one(plan: sa.Plan, mode: Any) -> None:
    whole = sa.collect(plan, cycles(mode), 24, seed=3)
    env, parts = cycles(mode), []
    for steps in (1, 2, 9, 12):
        parts.append(sa.collect(plan, env, steps, seed=3, after=parts[-1] if parts else None))
    for name in ("observations", "actions", "rewards", "log_probs", "values", "episode_starts"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tobytes() == getattr(whole, name).tobytes(), name
    assert (parts[-1].next_values == whole.next_values).all()
    other = sa.collect(plan, cycles(mode), 24, seed=4)
    assert (other.actions != whole.actions).any()


def test_deterministic_and_other_policies(plan: sa.Plan) -> None:
    sure = sa.collect(plan, cycles(MODES[0]), 5, deterministic=True)
    assert not sure.actions.any()
    assert np.allclose(sure.log_probs, np.log(0.5))
    plain = sa.compile(replace(plan.policy, head=sa.Argmax()))
    got = sa.collect(plain, cycles(MODES[0]), 5, deterministic=True)
    assert got.log_probs is None
    assert got.actions.shape == (5, 2)
    with pytest.raises(ValueError, match="output 'value'"):
        replace(got, values=None).advantages()


def test_an_id_and_a_vec_env() -> None:
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    layer = sa.Layer(np.zeros((2, 4), np.float32), np.zeros(2, np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((4,))), sa.Categorical())
    act = sa.compile(policy)
    ours = sa.collect(act, "CartPole-v1", 70, num_envs=3, seed=1)
    again = sa.collect(act, "CartPole-v1", 70, num_envs=3, seed=1)
    assert ours.observations.tobytes() == again.observations.tobytes()
    assert ours.terminated.any()
    vec = vec_env.DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=5)] * 3)
    theirs = sa.collect(act, vec, 70, seed=1)
    assert theirs.truncated.sum() == 3 * 70 // 5
    assert not theirs.terminated.any()


def test_actions_are_clipped_on_their_way_but_kept_as_drawn() -> None:
    seen: list[Any] = []

    class Watch(gym.Env[Any, Any]):
        observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        action_space = gym.spaces.Box(-0.5, 0.5, (1,), np.float32)

        def reset(self, **_: Any) -> Any:
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> Any:
            seen.append(np.array(action))
            return np.zeros(1, np.float32), 0.0, False, False, {}

    layer = sa.Layer(np.zeros((1, 1), np.float32), np.zeros(1, np.float32))
    head = sa.DiagGaussian(np.zeros(1, np.float32))
    act = sa.compile(sa.SparsePolicy(sa.chain((layer,), sa.Observation((1,))), head))
    got = sa.collect(act, Watch(), 50)
    assert np.abs(got.actions).max() > 1
    assert np.array_equal(np.array(seen), np.clip(got.actions[:, 0], -0.5, 0.5))


def test_advantages_on_a_known_answer() -> None:
    """Worked by hand: gamma 1/2, lambda 1/2, one environment, an end and a cut."""
    row = {
        "rewards": [1.0, 2.0, 4.0, 8.0],
        "values": [2.0, 4.0, 8.0, 16.0],
        "final_values": [0.0, 0.0, 32.0, 0.0],
    }
    arrays: dict[str, Any] = {k: np.array(v, np.float32)[:, None] for k, v in row.items()}
    flags = {"terminated": [0, 1, 0, 0], "truncated": [0, 0, 1, 0], "valid": [1, 1, 1, 1]}
    arrays |= {k: np.array(v, np.bool_)[:, None] for k, v in flags.items()}
    got = sa.Transitions(
        observations=None,
        actions=np.zeros((4, 1)),
        episode_starts=arrays["valid"],
        log_probs=None,
        next_values=np.array([20], np.float32),
        next_observation=None,
        next_starts=np.zeros(1, np.bool_),
        next_step=4,
        **arrays,
    )
    advantages, returns = got.advantages(gamma=0.5, gae_lambda=0.5)
    # deltas: 1 + 2 - 2, 2 - 4, 4 + 16 - 8, 8 + 10 - 16; the first takes a quarter of the second.
    assert advantages[:, 0].tolist() == [1 - 0.5, -2, 12, 2]
    assert returns[:, 0].tolist() == [2.5, 2, 20, 18]
    with pytest.raises(ValueError, match="gamma: expected"):
        got.advantages(gamma=2)
