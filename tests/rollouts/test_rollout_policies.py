"""What may act in a rollout: functions, `predict`, recurrent and compiled policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toys import (
    CYCLE,
    DRAW,
    MODES,
    AutoresetMode,
    Cycle,
    Still,
    cycles,
)

import sparseagent as sa
from sparseagent.rollouts import rollout


def test_predict_wins_over_calling() -> None:
    result = rollout(Still(), CYCLE, episodes=3, num_envs=1)
    assert result.lengths.tolist() == [1, 2, 3]


def test_compiled_policy() -> None:
    weight = np.array([[0, 0, -1, -0.5], [0, 0, 1, 0.5]], dtype=np.float32)
    layer = sa.Layer(sa.CSR.from_dense(weight), np.zeros(2, dtype=np.float32))
    act = sa.compile(sa.SparsePolicy(sa.chain((layer,), sa.Observation((4,))), sa.Argmax()), tune=0)

    def same(observation: Any) -> Any:
        return np.argmax(observation @ weight.T, axis=1)

    result = rollout(act, "CartPole-v1", episodes=4)
    assert result.mean > 150
    np.testing.assert_array_equal(
        result.returns, rollout(same, "CartPole-v1", episodes=4, num_envs=3).returns
    )
    with pytest.raises(ValueError, match="4"):
        rollout(act, DRAW)


def test_recurrent_state_travels_with_the_episode_starts() -> None:
    class Counts:
        """Pays its own count of steps: the state, put to zero where an episode begins."""

        def predict(
            self,
            observation: Any,
            state: Any = None,
            episode_start: Any = None,
            deterministic: bool = False,
        ) -> tuple[Any, Any]:
            state = np.zeros(len(observation)) if state is None else state
            if episode_start is not None:
                state = np.where(episode_start, 0.0, state)
            np.testing.assert_array_equal(state, observation[:, 0])
            return np.zeros(len(observation), dtype=np.int64), state + 1

    for mode in MODES:
        if mode is AutoresetMode.NEXT_STEP:
            continue  # there the final observation of an episode is shown too
        assert rollout(Counts(), cycles(2, mode), episodes=12).lengths.max() == 4


def test_recurrent_starts_in_next_step_mode() -> None:
    seen: list[tuple[bool, bool]] = []

    class Watches:
        def predict(
            self,
            observation: Any,
            state: Any = None,
            episode_start: Any = None,
            deterministic: bool = False,
        ) -> tuple[Any, Any]:
            if episode_start is not None:
                seen.extend(zip(observation[:, 0] == 0, episode_start, strict=True))
            return np.zeros(len(observation), dtype=np.int64), 0

    rollout(Watches(), cycles(2, AutoresetMode.NEXT_STEP), episodes=12)
    assert any(first for first, _ in seen)
    assert all(first == told for first, told in seen)


def test_mean_equals_evaluate_policy_of_stable_baselines3() -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Sb3Still:
        def predict(
            self,
            observation: Any,
            state: Any = None,
            episode_start: Any = None,
            deterministic: bool = False,
        ) -> tuple[Any, Any]:
            return np.zeros(len(observation), dtype=np.int64), state

    returns, lengths = evaluation.evaluate_policy(
        Sb3Still(),
        DummyVecEnv([lambda: Monitor(Cycle(period=5))] * 4),
        n_eval_episodes=22,
        return_episode_rewards=True,
    )
    result = rollout(Sb3Still(), cycles(4, AutoresetMode.NEXT_STEP, period=5), episodes=22)
    assert sorted(result.returns.tolist()) == sorted(returns)
    assert sorted(result.lengths.tolist()) == sorted(lengths)
    assert result.mean == pytest.approx(np.mean(returns))
    assert result.std == pytest.approx(np.std(returns))
