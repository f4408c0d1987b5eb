"""What the result of a rollout tells, and what a rollout leaves behind."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from gymnasium.wrappers import TransformReward
from toys import (
    CYCLE,
    DRAW,
    AutoresetMode,
    Balance,
    SyncVectorEnv,
    cycles,
    damp,
    still,
)

from sparseagent.rollouts import rollout


def test_result_describes_the_rollout() -> None:
    result = rollout(damp, DRAW, episodes=40, num_envs=8, seed=4)
    assert result.returns.shape == result.lengths.shape == (40,)
    assert result.lengths.sum() == result.steps
    assert result.ci95[0] < result.iqm < result.ci95[1]
    assert 0.0 < result.policy_share < 1.0
    assert result.steps_per_second == pytest.approx(result.steps / result.seconds)
    assert (result.env_id, result.num_envs, result.seed) == (DRAW, 8, 4)
    text = str(result)
    assert DRAW in text
    assert f"{result.iqm:.1f}" in text
    assert "40 episodes" in text
    with pytest.raises(ValueError, match="read-only"):
        result.returns[0] = 0.0


def test_policy_share_follows_the_cost_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only the policy and the looks at it move: one ns a look, `cost` a call."""
    now = 0

    def clock() -> int:
        nonlocal now
        now += 1
        return now

    def policy(cost: int) -> Any:
        def act(observation: Any) -> Any:
            nonlocal now
            now += cost
            return still(observation)

        return act

    monkeypatch.setattr("sparseagent.rollouts.time.perf_counter_ns", clock)
    free, cheap, dear = (
        rollout(policy(cost), CYCLE, episodes=20).policy_share for cost in (0, 1, 1_000)
    )
    assert 0.0 <= free < cheap < dear <= 1.0
    assert cheap == pytest.approx(2 / 3, abs=0.05)  # of three ns a step: the call and one look
    assert dear > 0.99


def test_equal_returns_have_an_interval_of_no_width() -> None:
    result = rollout(Balance(), "CartPole-v1", episodes=6, max_steps=5)
    assert result.ci95 == (5.0, 5.0)
    assert (result.iqm, result.std) == (5.0, 0.0)


def test_never_more_environments_than_episodes() -> None:
    result = rollout(damp, DRAW, episodes=3, num_envs=8)
    assert result.num_envs == 3
    assert len(result.returns) == 3


def test_own_environments_are_closed_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(SyncVectorEnv, "close", lambda self, **_: closed.append(1))
    rollout(still, CYCLE, episodes=2)
    assert len(closed) == 1
    with pytest.raises(ZeroDivisionError):
        rollout(lambda observation: 1 // 0, CYCLE, episodes=2)
    assert len(closed) == 2
    rollout(still, cycles(2, AutoresetMode.NEXT_STEP), episodes=2)
    assert len(closed) == 2


def test_import_is_light() -> None:
    code = (
        "import sys, sparseagent.rollouts\n"
        "heavy = {'torch', 'scipy', 'gymnasium', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrappers_go_around_each_environment_innermost_first() -> None:
    plain = rollout(still, CYCLE, episodes=6, num_envs=1)
    add = partial(TransformReward, func=lambda reward: reward + 1.0)
    twice = partial(TransformReward, func=lambda reward: 2.0 * reward)
    result = rollout(still, CYCLE, episodes=6, num_envs=1, wrappers=(add, twice))
    assert result.returns.tolist() == (2 * (plain.returns + plain.lengths)).tolist()
    assert result.lengths.tolist() == plain.lengths.tolist()
