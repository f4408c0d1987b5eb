"""Small environments and models, and the comparison of a policy's actions with a model's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

import sparseagent as sa

_ROLLOUTS = {"n_steps": 8, "batch_size": 8}
_REPLAY = {"buffer_size": 16}
#: The class and small settings of every algorithm.
ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "PPO": (PPO, _ROLLOUTS),
    "A2C": (A2C, {}),
    "TRPO": (TRPO, _ROLLOUTS),
    "MaskablePPO": (MaskablePPO, _ROLLOUTS),
    "RecurrentPPO": (RecurrentPPO, _ROLLOUTS),
    "DQN": (DQN, _REPLAY),
    "QRDQN": (QRDQN, _REPLAY),
    "SAC": (SAC, _REPLAY),
    "TQC": (TQC, _REPLAY),
    "CrossQ": (CrossQ, _REPLAY),
    "TD3": (TD3, _REPLAY),
    "DDPG": (DDPG, _REPLAY),
    "ARS": (ARS, {}),
}
_DISCRETE = ("DQN", "QRDQN", "MaskablePPO")
ASYMMETRIC = spaces.Box(
    np.array([-0.3, -2.0, 0.1], np.float32), np.array([1.7, -0.5, 0.11], np.float32)
)
OBSERVED = spaces.Box(-np.inf, np.inf, (5,), np.float32)


class Noise(gymnasium.Env[Any, Any]):
    """Observations drawn from the observation space, episodes of 20 steps."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]):
        self.observation_space = observation_space
        self.action_space = action_space
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(0 if seed is None else seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observation_space.sample(), 0.0, False, self.steps >= 20, {}


def scramble(model: Any, sparsity: float, seed: int = 0) -> None:
    """Give every parameter of a model random values, and its matrices random zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.normal_(0, 0.4, generator=generator)
            if parameter.ndim == 2:
                keep = torch.rand(parameter.shape, generator=generator) >= sparsity
                parameter.mul_(keep)
        for name, buffer in model.policy.named_buffers():  # batch renormalisation
            if name.endswith("ra_mean"):
                buffer.normal_(0, 1, generator=generator)
            elif name.endswith("ra_var"):
                buffer.uniform_(0.1, 3, generator=generator)


def make_model(
    algorithm: str,
    observation_space: spaces.Space[Any] = OBSERVED,
    action_space: spaces.Space[Any] | None = None,
    *,
    env: Any = None,
    sparsity: float = 0.6,
    policy: str = "MlpPolicy",
    **settings: Any,
) -> Any:
    """An untrained model with random, pruned weights."""
    default: spaces.Space[Any] = spaces.Discrete(4) if algorithm in _DISCRETE else ASYMMETRIC
    if env is None:
        env = Noise(observation_space, default if action_space is None else action_space)
    kind, small = ALGORITHMS[algorithm]
    settings = {**small, "device": "cpu", **settings}
    if policy == "MlpPolicy":
        settings.setdefault("policy_kwargs", {"net_arch": [24, 16]})
    model = kind(policy, env, **settings)
    scramble(model, sparsity)
    return model


def assert_same_actions(
    model: Any,
    policy: sa.SparsePolicy,
    observations: Any,
    normalise: Callable[[Any], Any] | None = None,
) -> None:
    """`predict` of the compiled policy gives the model's actions, for a batch and one by one."""
    act = sa.compile(policy, tune=0)
    for given in (observations, *observations[:3]):
        seen = given if normalise is None else normalise(given)
        expected, _ = model.predict(seen, deterministic=True)
        actions, state = act.predict(given, deterministic=True)
        assert state is None
        assert np.shape(actions) == np.shape(expected)
        if not isinstance(model.action_space, spaces.MultiBinary):  # torch rounds to floats
            assert np.asarray(actions).dtype == np.asarray(expected).dtype
        if np.asarray(expected).dtype.kind == "f":
            np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
        else:
            np.testing.assert_array_equal(actions, expected)
