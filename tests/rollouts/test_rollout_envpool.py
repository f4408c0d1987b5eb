"""Rollouts in EnvPool."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from toys import (
    Balance,
    still,
)

from sparseagent.rollouts import rollout


def _envpool() -> Any:
    return pytest.importorskip("envpool", reason="EnvPool is not installed")


def test_envpool_counts_no_resetting_transition_and_repeats() -> None:
    _envpool()
    first, second = (
        rollout(Balance(), "CartPole-v1", backend="envpool", episodes=21, num_envs=4, seed=2)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.returns, second.returns)
    np.testing.assert_array_equal(first.returns, first.lengths)
    assert (first.env_id, first.num_envs, first.seed) == ("CartPole-v1", 4, 2)


def test_envpool_agrees_with_gymnasium_in_distribution() -> None:
    _envpool()
    ours = rollout(Balance(), "CartPole-v1", episodes=300)
    pool = rollout(Balance(), "CartPole-v1", backend="envpool", episodes=300)
    error = np.hypot(ours.std, pool.std) / np.sqrt(300)
    assert abs(ours.mean - pool.mean) < 5 * error


def test_ready_envpool() -> None:
    env = _envpool().make("CartPole-v1", env_type="gymnasium", num_envs=3, seed=1)
    result = rollout(Balance(), env, episodes=7)
    np.testing.assert_array_equal(result.returns, result.lengths)
    assert result.seed is None
    env.step(np.zeros(3, dtype=np.int64))  # still open


def test_envpool_errors() -> None:
    envpool = _envpool()
    with pytest.raises(ValueError, match="EnvPool has no environment 'NoSuchThing-v0'"):
        rollout(still, "NoSuchThing-v0", backend="envpool")
    with pytest.raises(ValueError, match="max_steps needs environments that rollout may reset"):
        rollout(still, "CartPole-v1", backend="envpool", max_steps=5)
    with pytest.raises(TypeError, match="env_type 'gymnasium', got CartPoleDMEnvPool"):
        rollout(still, envpool.make("CartPole-v1", env_type="dm", num_envs=2))
    with pytest.raises(ValueError, match="batch_size=2 of num_envs=4"):
        rollout(still, envpool.make("CartPole-v1", env_type="gymnasium", num_envs=4, batch_size=2))


def test_missing_envpool_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ImportError, match=r"sparseagent\[envs\]"):
        rollout(still, "CartPole-v1", backend="envpool")
