"""from_sb3 against model.predict: every algorithm, live and from its zip, with statistics."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_models import ASYMMETRIC, OBSERVED, Noise, assert_same_actions, make_model, scramble
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn
from torch.nn.utils import prune

import sparseagent as sa
from sparseagent.convert import NormaliserWarning

CASES = {
    "PPO-discrete": ("PPO", spaces.Discrete(4), {}),
    "PPO-box": ("PPO", ASYMMETRIC, {}),
    "PPO-gsde": ("PPO", ASYMMETRIC, {"use_sde": True}),
    "PPO-gsde-squashed": (
        "PPO",
        ASYMMETRIC,
        {"use_sde": True, "policy_kwargs": {"squash_output": True, "net_arch": [16]}},
    ),
    "PPO-linear": ("PPO", ASYMMETRIC, {"policy_kwargs": {"net_arch": []}}),
    "PPO-default-net": ("PPO", ASYMMETRIC, {"policy_kwargs": None}),
    "A2C-discrete": ("A2C", spaces.Discrete(3), {}),
    "A2C-box": ("A2C", ASYMMETRIC, {"policy_kwargs": {"activation_fn": nn.ELU}}),
    "DQN": ("DQN", spaces.Discrete(5), {}),
    "DQN-gelu": ("DQN", spaces.Discrete(5), {"policy_kwargs": {"activation_fn": nn.GELU}}),
    "SAC": ("SAC", ASYMMETRIC, {}),
    "SAC-gsde": ("SAC", ASYMMETRIC, {"use_sde": True}),
    "SAC-gsde-clip-mean": (
        "SAC",
        ASYMMETRIC,
        {"use_sde": True, "policy_kwargs": {"clip_mean": 0.5, "net_arch": [16]}},
    ),
    "SAC-gsde-free-mean": (
        "SAC",
        ASYMMETRIC,
        {"use_sde": True, "policy_kwargs": {"clip_mean": 0.0, "net_arch": [16]}},
    ),
    "TD3": ("TD3", ASYMMETRIC, {"policy_kwargs": {"net_arch": {"pi": [20], "qf": [8, 8]}}}),
    "DDPG": ("DDPG", ASYMMETRIC, {}),
}


def observations(count: int = 64) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).normal(0.0, 2.0, (count, 5)).astype(np.float32)


def both_ways(model: Any, folder: Path, **options: Any) -> dict[str, sa.SparsePolicy]:
    """The policy from the live model and from its zip, not normalised unless `options` say so."""
    options.setdefault("vecnormalize", False)
    model.save(folder / "model.zip")
    live = sa.from_sb3(model, **options)
    return {"live": live, "zip": sa.from_sb3(folder / "model.zip", **options)}


def assert_equal_policies(one: sa.SparsePolicy, other: sa.SparsePolicy) -> None:
    assert len(one.layers) == len(other.layers)
    for a, b in zip(one.layers, other.layers, strict=True):
        assert (a.activation, a.alpha, type(a.weight)) == (b.activation, b.alpha, type(b.weight))
        np.testing.assert_array_equal(a.dense_weight(), b.dense_weight())
        np.testing.assert_array_equal(a.bias, b.bias)
    assert one.golden is not None
    assert other.golden is not None
    np.testing.assert_array_equal(one.golden.observations, other.golden.observations)
    np.testing.assert_array_equal(one.golden.actions, other.golden.actions)


@pytest.mark.parametrize("case", CASES)
def test_actions_are_the_models(case: str, tmp_path: Path) -> None:
    algorithm, action_space, settings = CASES[case]
    model = make_model(algorithm, OBSERVED, action_space, **settings)
    policies = both_ways(model, tmp_path)
    for policy in policies.values():
        assert_same_actions(model, policy, observations())
        assert policy.metadata["algorithm"] == algorithm
    assert_equal_policies(policies["live"], policies["zip"])


@pytest.mark.parametrize("case", CASES)
def test_actions_are_the_models_on_normalised_observations(case: str, tmp_path: Path) -> None:
    algorithm, action_space, settings = CASES[case]
    vec = VecNormalize(
        DummyVecEnv([lambda: Noise(OBSERVED, action_space)]), clip_obs=1.5, epsilon=1e-3
    )
    model = make_model(algorithm, env=vec, **settings)
    vec.obs_rms.mean = np.array([0.3, -1.0, 0.0, 5.0, 1e-3])
    vec.obs_rms.var = np.array([2.0, 0.5, 1.0, 1e-9, 30.0])
    vec.save(str(tmp_path / "vec_normalize.pkl"))
    raw = observations()
    assert (np.abs(vec.normalize_obs(raw)) == 1.5).any(), "the clip must act"
    for given in (vec, tmp_path / "vec_normalize.pkl"):
        policies = both_ways(model, tmp_path, vecnormalize=given)
        for policy in policies.values():
            assert_same_actions(model, policy, raw, vec.normalize_obs)
            np.testing.assert_array_equal(policy.observation.apply(raw), vec.normalize_obs(raw))
        assert_equal_policies(policies["live"], policies["zip"])


def test_a_normaliser_is_never_lost_silently(tmp_path: Path) -> None:
    vec = VecNormalize(DummyVecEnv([lambda: Noise(OBSERVED, ASYMMETRIC)]))
    model = make_model("PPO", env=vec)
    with pytest.raises(ValueError, match=r"vecnormalize=model.get_vec_normalize_env()"):
        sa.from_sb3(model)
    stated = sa.from_sb3(model, vecnormalize=False)
    assert stated.observation.is_identity
    assert stated.metadata["vecnormalize"] == "none"
    assert sa.from_sb3(model, vecnormalize=vec).metadata["vecnormalize"] == "built in"
    assert_same_actions(model, stated, observations())
    vec.norm_obs = False
    assert sa.from_sb3(model).observation.is_identity
    assert sa.from_sb3(model, vecnormalize=vec).observation.is_identity
    vec.save(str(tmp_path / "vec.pkl"))
    assert sa.from_sb3(model, vecnormalize=tmp_path / "vec.pkl").observation.is_identity
    model.save(tmp_path / "model.zip")
    for source in (tmp_path / "model.zip", PPO.load(tmp_path / "model.zip", device="cpu")):
        with pytest.warns(NormaliserWarning, match=r"--vecnormalize FILE.*--no-vecn"):
            assert sa.from_sb3(source).metadata["vecnormalize"] == "not stated"
        assert sa.from_sb3(source, vecnormalize=False).metadata["vecnormalize"] == "none"


def test_the_model_is_not_changed() -> None:
    model = make_model("SAC")
    model.policy.set_training_mode(True)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    sa.from_sb3(model)
    assert model.policy.actor.training
    for key, value in model.policy.state_dict().items():
        assert torch.equal(value, before[key])


def test_pruned_weights_keep_exactly_their_zeros(tmp_path: Path) -> None:
    wide = spaces.Box(-1, 1, (30,), np.float32)
    # Too dense and too many rows for any order but the plain one, so neurons stay in their places.
    model = make_model(
        "PPO", wide, spaces.Discrete(35), policy_kwargs={"net_arch": [40, 40]}, sparsity=0.5
    )
    source = [
        *(part for part in model.policy.mlp_extractor.policy_net if isinstance(part, nn.Linear)),
        model.policy.action_net,
    ]
    for policy in both_ways(model, tmp_path).values():
        assert policy.metadata["removed_neurons"] == [0, 0]
        for layer, linear in zip(policy.layers, source, strict=True):
            weight = linear.weight.detach().numpy()
            assert isinstance(layer.weight, sa.CSR)
            assert layer.nnz == np.count_nonzero(weight)
            np.testing.assert_array_equal(layer.dense_weight(), weight)
        assert policy.metadata["sparsity"] == [layer.sparsity for layer in policy.layers]


def test_dead_neurons_go(tmp_path: Path) -> None:
    model = make_model("SAC", policy_kwargs={"net_arch": [64, 64]}, sparsity=0.97)
    for policy in both_ways(model, tmp_path).values():
        assert min(policy.metadata["removed_neurons"]) > 10
        assert_same_actions(model, policy, observations())


def test_masks_of_torch_are_read_live_and_from_the_zip(tmp_path: Path) -> None:
    model = make_model("TD3", sparsity=0.0)
    for linear in (model.actor.mu[0], model.actor.mu[2]):
        prune.random_unstructured(linear, "weight", 0.5)
    for policy in both_ways(model, tmp_path).values():
        assert policy.metadata["sparsity"][:2] == [0.5, 0.5]
        assert_same_actions(model, policy, observations())


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int32, np.int8, np.uint8])
def test_observations_of_other_types(dtype: type, tmp_path: Path) -> None:
    space = spaces.Box(0, 100, (2, 3), dtype)
    model = make_model("PPO", space, spaces.Discrete(3))
    seen = np.stack([space.sample() for _ in range(32)])
    for policy in both_ways(model, tmp_path).values():
        assert policy.observation.dtype == np.dtype(dtype).name
        assert policy.observation.shape == (2, 3)
        assert_same_actions(model, policy, seen)


def test_every_pixel_value_is_scaled_as_torch_scales_it(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (1, 16, 16), np.uint8)
    model = make_model("DQN", space)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    expected = torch.from_numpy(pixels).float() / 255.0
    for policy in both_ways(model, tmp_path).values():
        np.testing.assert_array_equal(policy.observation.apply(pixels), expected.reshape(1, 256))
        assert_same_actions(model, policy, np.stack([space.sample() for _ in range(8)]))


def test_images_that_the_policy_does_not_scale(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (1, 8, 8), np.uint8)
    model = make_model(
        "DQN", space, policy_kwargs={"normalize_images": False, "net_arch": [8]}, sparsity=0.2
    )
    for policy in both_ways(model, tmp_path).values():
        assert policy.observation.is_identity
        assert_same_actions(model, policy, np.stack([space.sample() for _ in range(8)]))


def test_bounds_shape_the_action(tmp_path: Path) -> None:
    space = spaces.Box(
        np.array([[-1, -2], [-3, -4]], np.float32), np.array([[0.5, 1], [1.5, 0.01]], np.float32)
    )
    for algorithm in ("A2C", "SAC"):
        model = make_model(algorithm, OBSERVED, space)
        for policy in both_ways(model, tmp_path).values():
            assert policy.action_shape == (2, 2)
            assert_same_actions(model, policy, observations())


def test_float64_actions_need_a_statement(tmp_path: Path) -> None:
    model = make_model("PPO", OBSERVED, spaces.Box(-1.0, 2.0, (3,), np.float64))
    model.save(tmp_path / "model.zip")
    stated = spaces.Box(-1.0, 2.0, (3,), np.float32)
    for source in (model, tmp_path / "model.zip"):
        with pytest.raises(ValueError, match=r"action_space: expected float32 actions.*float64"):
            sa.from_sb3(source, vecnormalize=False)
        act = sa.compile(sa.from_sb3(source, action_space=stated, vecnormalize=False), tune=0)
        actions, _ = act.predict(observations(), deterministic=True)
        expected, _ = model.predict(observations(), deterministic=True)
        assert actions.dtype == np.float32
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)


def test_metadata(tmp_path: Path) -> None:
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu")
    policies = both_ways(model, tmp_path, metadata={"evaluated_return": 9.5})
    for policy in policies.values():
        facts = policy.metadata
        assert facts["source"] == "stable-baselines3"
        assert facts["algorithm"] == "PPO"
        assert facts["action_space"] == "Discrete(2)"
        assert facts["observation_space"].startswith("Box(")
        assert facts["evaluated_return"] == 9.5
        assert facts["source_shapes"] == [[64, 4], [64, 64], [2, 64]]
        for package in ("torch", "stable-baselines3", "gymnasium", "numpy"):
            assert facts["versions"][package]
    assert policies["live"].metadata["environment"] == "CartPole-v1"
    assert (
        policies["live"].metadata["observation_space"]
        == (policies["zip"].metadata["observation_space"])
    )
    content = (tmp_path / "model.zip").read_bytes()
    assert policies["zip"].metadata["source_sha256"] == hashlib.sha256(content).hexdigest()


def test_a_zip_tells_td3_from_ddpg(tmp_path: Path) -> None:
    for algorithm, settings in (
        ("TD3", {"policy_delay": 1}),
        ("TD3", {"target_noise_clip": 0.0}),
        ("DDPG", {}),
    ):
        make_model(algorithm, **settings).save(tmp_path / "model.zip")
        policy = sa.from_sb3(tmp_path / "model.zip", vecnormalize=False)
        assert policy.metadata["algorithm"] == algorithm


def test_the_self_test_travels_with_the_file(tmp_path: Path) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", buffer_size=8, device="cpu")
    scramble(model, 0.8)
    policy = sa.from_sb3(model)
    assert policy.golden is not None
    seen = policy.golden.observations
    assert seen.shape == (8, 3)
    assert model.observation_space.contains(seen[0])
    expected, _ = model.predict(seen, deterministic=True)
    np.testing.assert_allclose(policy.golden.actions, expected, rtol=0, atol=1e-5)
    policy.save(tmp_path / "policy.safetensors")
    assert_same_actions(model, sa.load(tmp_path / "policy.safetensors"), seen)


def test_a_path_without_its_suffix(tmp_path: Path) -> None:
    model = make_model("PPO")
    model.save(tmp_path / "agent")
    policy = sa.from_sb3(str(tmp_path / "agent"), vecnormalize=False)
    assert_same_actions(model, policy, observations())
    with pytest.raises(FileNotFoundError, match="nothing"):
        sa.from_sb3(tmp_path / "nothing")


def test_a_model_without_numbers_is_named() -> None:
    model = make_model("PPO")
    model.policy.to("meta")
    with pytest.raises(ValueError, match=r"policy_net\.0' \(Linear\): weight.*meta device"):
        sa.from_sb3(model)


def run(act: Any, env: Any) -> tuple[list[float], list[int]]:
    rewards, lengths = evaluate_policy(
        act, env, n_eval_episodes=5, deterministic=True, return_episode_rewards=True
    )
    return rewards, lengths


def test_evaluate_policy_takes_the_compiled_policy_as_it_is() -> None:
    model = make_model("PPO", env=gymnasium.make("CartPole-v1"), sparsity=0.8)
    act = sa.compile(sa.from_sb3(model), tune=0)
    expected = run(model, make_vec_env("CartPole-v1", n_envs=2, seed=1))
    assert run(act, make_vec_env("CartPole-v1", n_envs=2, seed=1)) == expected


def test_evaluate_policy_on_raw_observations_equals_the_model_on_normalised_ones() -> None:
    vec = VecNormalize(make_vec_env("Pendulum-v1", seed=1), norm_reward=False)
    model = make_model("TD3", env=vec)
    vec.reset()
    for _ in range(50):
        vec.step(np.array([vec.action_space.sample()]))
    vec.training = False
    act = sa.compile(sa.from_sb3(model, vecnormalize=vec), tune=0)
    vec.seed(5)
    expected = run(model, vec)
    raw = make_vec_env("Pendulum-v1", seed=1)
    raw.seed(5)
    rewards, lengths = run(act, raw)
    assert lengths == expected[1]
    np.testing.assert_allclose(rewards, expected[0], rtol=1e-3)
