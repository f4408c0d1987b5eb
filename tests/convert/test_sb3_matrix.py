"""Every algorithm x action space x observation space: the deterministic actions of `predict`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_models import ALGORITHMS, ASYMMETRIC, OBSERVED, make_model, scramble
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import sparseagent as sa

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "Box": OBSERVED,
    "Box float64 2-D": spaces.Box(-1, 1, (2, 3), np.float64),
    "Discrete": spaces.Discrete(4),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
    "MultiBinary": spaces.MultiBinary(6),
    "Dict": spaces.Dict(
        {
            "b": spaces.Box(-1, 1, (3,)),
            "a": spaces.Discrete(3),
            "c": spaces.MultiBinary(2),
            "d": spaces.Box(-1, 1, (2, 2)),
        }
    ),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "Box": ASYMMETRIC,
    "Discrete": spaces.Discrete(4),
    "Discrete from 2": spaces.Discrete(3, start=2),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
    "MultiBinary": spaces.MultiBinary(3),
}
DISCRETE = ("Discrete", "Discrete from 2")
BY_ALGORITHM: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("PPO", "A2C"), tuple(ACTIONS)),
    "TRPO": tuple(ACTIONS),
    "MaskablePPO": (*DISCRETE, "MultiDiscrete", "MultiBinary"),
    **dict.fromkeys(("DQN", "QRDQN"), DISCRETE),
    **dict.fromkeys(("SAC", "TQC", "CrossQ", "TD3", "DDPG"), ("Box",)),
    "ARS": ("Box", *DISCRETE),
}
CASES = [
    (algorithm, observed, action)
    for algorithm, actions in BY_ALGORITHM.items()
    for observed, action in itertools.product(OBSERVATIONS, actions)
    if not (algorithm in ("ARS", "CrossQ") and observed == "Dict")  # which have no such policy
]


def drawn(space: spaces.Space[Any], count: int = 24) -> Any:
    space.seed(1)
    if isinstance(space, spaces.Dict):
        found = [space.sample() for _ in range(count)]
        return {key: np.stack([one[key] for one in found]) for key in space}
    return np.stack([space.sample() for _ in range(count)])


def assert_same(model: Any, policy: sa.SparsePolicy, seen: Any) -> None:
    expected, _ = model.predict(seen, deterministic=True)
    actions, _ = sa.compile(policy, tune=0).predict(seen, deterministic=True)
    assert np.shape(actions) == np.shape(expected)
    if isinstance(model.action_space, spaces.Box):
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
    else:
        np.testing.assert_array_equal(actions, expected)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_actions_are_the_models(case: tuple[str, str, str], tmp_path: Path) -> None:
    algorithm, observed, action = case
    space = OBSERVATIONS[observed]
    policy_class = "MultiInputPolicy" if observed == "Dict" else "MlpPolicy"
    model = make_model(algorithm, space, ACTIONS[action], policy=policy_class)
    policy = sa.from_sb3(model)
    assert_same(model, policy, drawn(space))
    assert policy.metadata["algorithm"] == algorithm
    assert ("quirks" in policy.metadata) == (action == "Discrete from 2")
    assert policy.metadata["source_distance"] < 1e-4
    model.save(tmp_path / "model.zip")
    saved = sa.from_sb3(tmp_path / "model.zip", vecnormalize=False)
    assert saved.metadata["algorithm"] == algorithm
    assert saved.golden is not None
    assert policy.golden is not None
    np.testing.assert_array_equal(saved.golden.outputs, policy.golden.outputs)


def test_every_algorithm_is_here() -> None:
    assert BY_ALGORITHM.keys() == ALGORITHMS.keys() - {"RecurrentPPO"}


class Skip(BaseFeaturesExtractor):
    """An extractor of known modules: a norm, a layer, and a way around it."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=7)
        self.norm = nn.LayerNorm(5)
        self.layer = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, torch.relu(self.layer(self.norm(x)))], dim=1)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "TD3", "DQN", "QRDQN", "TQC"])
def test_extractors_of_known_modules(algorithm: str, share: bool) -> None:
    kwargs: dict[str, Any] = {"features_extractor_class": Skip, "net_arch": [16]}
    if algorithm not in ("DQN", "QRDQN"):
        kwargs["share_features_extractor"] = share
    model = make_model(algorithm, policy_kwargs=kwargs)
    assert_same(model, sa.from_sb3(model), drawn(OBSERVED))


class Pair(BaseFeaturesExtractor):
    """An extractor of a Dict."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, features_dim=6)
        self.layer = nn.Linear(3, 4)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([x["a"], torch.tanh(self.layer(x["b"]))], dim=1)


def test_extractors_of_a_dict() -> None:
    space = spaces.Dict({"b": spaces.Box(-1, 1, (3,)), "a": spaces.Box(-1, 1, (2,))})
    kwargs = {"features_extractor_class": Pair, "net_arch": [16]}
    model = make_model("PPO", space, policy="MultiInputPolicy", policy_kwargs=kwargs)
    assert_same(model, sa.from_sb3(model), drawn(space))


@pytest.mark.parametrize("settings", [{}, {"use_sde": True}, {"squash_output": True}])
@pytest.mark.parametrize("saved", [False, True])
def test_values_and_log_probabilities_of_ppo(
    settings: dict[str, Any], saved: bool, tmp_path: Path
) -> None:
    kwargs: dict[str, Any] = {"net_arch": [16, 12]}
    use_sde = bool(settings)
    if "squash_output" in settings:
        kwargs["squash_output"] = True
    model = make_model("PPO", use_sde=use_sde, policy_kwargs=kwargs)
    model.save(tmp_path / "model.zip")
    source = tmp_path / "model.zip" if saved else model
    policy = sa.from_sb3(source, vecnormalize=False, stochastic=True, value=True)
    act, seen = sa.compile(policy, tune=0), drawn(OBSERVED)
    assert_same(model, policy, seen)
    found = act.sample(seen, seed=3, step=0)
    with torch.no_grad():
        x = torch.from_numpy(seen)
        raw = torch.from_numpy(np.array(found.action))
        if use_sde and settings.get("squash_output"):
            raw = torch.from_numpy(model.policy.scale_action(np.array(found.action)))
        model.policy.reset_noise(len(seen)) if use_sde else None
        values, log_prob, _ = model.policy.evaluate_actions(x, raw)
    np.testing.assert_allclose(np.ravel(found.value), values.ravel(), rtol=1e-4, atol=1e-4)
    inside = np.ones(len(seen), bool)
    if not settings.get("squash_output"):  # the log-probability is that of the sample, not clipped
        inside = ((found.action > ASYMMETRIC.low) & (found.action < ASYMMETRIC.high)).all(axis=1)
    else:
        inside = (np.abs(raw.numpy()) < 0.99).all(axis=1)
    np.testing.assert_allclose(
        np.array(found.log_prob)[inside], log_prob.numpy()[inside], rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize("action", ["Discrete", "MultiDiscrete", "MultiBinary"])
@pytest.mark.parametrize("algorithm", ["PPO", "MaskablePPO"])
def test_values_and_log_probabilities_of_choices(algorithm: str, action: str) -> None:
    model = make_model(algorithm, OBSERVED, ACTIONS[action])
    scramble(model, 0.0)
    policy = sa.from_sb3(model, stochastic=True, value=True)
    seen = drawn(OBSERVED)
    assert_same(model, policy, seen)
    found = sa.compile(policy, tune=0).sample(seen, seed=3, step=0)
    with torch.no_grad():
        actions = torch.from_numpy(np.array(found.action))
        actions = actions.float() if action == "MultiBinary" else actions
        values, log_prob, _ = model.policy.evaluate_actions(torch.from_numpy(seen), actions)
    np.testing.assert_allclose(np.ravel(found.value), values.ravel(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.log_prob, log_prob, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_sde", [False, True])
@pytest.mark.parametrize("algorithm", ["SAC", "TQC", "CrossQ"])
def test_squashed_distributions_have_their_modes(algorithm: str, use_sde: bool) -> None:
    model = make_model(algorithm, use_sde=use_sde)
    policy = sa.from_sb3(model, stochastic=True)
    assert policy.head.kind == ("gsde" if use_sde else "diag_gaussian")
    assert_same(model, policy, drawn(OBSERVED))


def test_what_has_no_distribution_or_value_says_so() -> None:
    for algorithm in ("TD3", "DDPG", "ARS"):
        with pytest.raises(ValueError, match="stochastic: expected False for TD3, DDPG and ARS"):
            sa.from_sb3(make_model(algorithm), stochastic=True)
    for algorithm in ("SAC", "DQN"):
        with pytest.raises(ValueError, match=f"value: expected False for {algorithm}"):
            sa.from_sb3(make_model(algorithm), value=True)


def test_a_method_that_was_put_on_an_instance_is_refused() -> None:
    model = make_model("PPO")
    model.policy.extract_features = lambda *args: args[0] / 2
    with pytest.raises(TypeError, match=r"'policy' \(ActorCriticPolicy\): expected the extract_f"):
        sa.from_sb3(model)
