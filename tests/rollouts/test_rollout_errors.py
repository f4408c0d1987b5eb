"""What a rollout refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toys import (
    CYCLE,
    AutoresetMode,
    Balance,
    cycles,
    still,
)

from sparseagent.rollouts import rollout


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"episodes": 0}, ValueError, "episodes must be at least 1, got 0"),
        ({"num_envs": 0}, ValueError, "num_envs must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1, got 0"),
        ({"episodes": 2.0}, TypeError, "episodes must be an integer, got float"),
        ({"num_envs": True}, TypeError, "num_envs must be an integer, got bool"),
        ({"env": "NoSuchThing-v0"}, ValueError, "env: gymnasium cannot make 'NoSuchThing-v0'"),
        ({"env": "not an id"}, ValueError, "env: gymnasium cannot make 'not an id'"),
        ({"env": 3}, TypeError, "env must be an environment id, .* got int"),
        ({"env": object()}, TypeError, "env must be an environment id, .* got object"),
        ({"act": 3}, TypeError, "act must be callable or have a predict method, got int"),
        ({"backend": "jax"}, ValueError, "backend must be .* got 'jax'"),
        ({"vectorization": "threads"}, ValueError, "vectorization must be .* got 'threads'"),
        ({"vectorization": "native"}, ValueError, "vector entry point"),
        (
            {"env": cycles(2, AutoresetMode.DISABLED), "wrappers": [lambda env: env]},
            ValueError,
            "wrappers needs an environment id, got the ready SyncVectorEnv",
        ),
        (
            {"env": "CartPole-v1", "vectorization": "native", "wrappers": [lambda env: env]},
            ValueError,
            "wrappers argument",
        ),
        (
            {"backend": "envpool", "wrappers": [lambda env: env]},
            ValueError,
            "wrappers needs backend='gymnasium'",
        ),
        ({"act": Balance()}, ValueError, r"act expects observations of shape \(4,\).* \(2,\)"),
        (
            {"act": lambda obs: np.zeros((len(obs), 2))},
            ValueError,
            r"actions of shape \(3,\) for Discrete\(2\), got \(3, 2\)",
        ),
        ({"act": lambda obs: np.zeros(len(obs))}, TypeError, "integer actions .* got float64"),
        ({"act": lambda obs: np.zeros(1, int)}, ValueError, r"shape \(3,\) .* got \(1,\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    call: dict[str, Any] = {"act": still, "env": CYCLE, "episodes": 3, **arguments}
    with pytest.raises(error, match=message):
        rollout(call.pop("act"), call.pop("env"), **call)


def test_predict_must_return_a_pair() -> None:
    class Bare:
        def predict(self, observation: Any, *, deterministic: bool = False) -> Any:
            return np.zeros(len(observation), dtype=np.int64)

    with pytest.raises(TypeError, match=r"must return \(actions, state\), got ndarray"):
        rollout(Bare(), CYCLE, episodes=2)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_what_a_ready_environment_cannot_take(mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match=f"max_steps .* got 5 with Sync.* of mode {mode.value}"):
        rollout(still, cycles(2, mode), max_steps=5)
    with pytest.raises(ValueError, match="env_kwargs needs an environment id"):
        rollout(still, cycles(2, mode), env_kwargs={"period": 3})


def test_unknown_autoreset_mode_is_refused() -> None:
    env = cycles(2, AutoresetMode.NEXT_STEP)
    del env.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match=r"metadata\['autoreset_mode'\] must be one of"):
        rollout(still, env)
