"""The statistics of VecNormalize in each form in which they may come."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from sb3_models import ASYMMETRIC, OBSERVED, Noise, make_model
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

import sparseagent as sa
from sparseagent.convert.normaliser import read_normaliser

STATISTICS = {
    "mean": np.arange(5.0),
    "var": np.linspace(0, 3, 5),
    "epsilon": 1e-6,
    "clip_obs": 4.0,
}


def make_vec(space: spaces.Space[Any] = OBSERVED, **options: Any) -> VecNormalize:
    vec = VecNormalize(DummyVecEnv([lambda: Noise(space, ASYMMETRIC)]), **options)
    vec.reset()
    for _ in range(10):
        vec.step(np.zeros((1, 3), np.float32))
    return vec


def raw(count: int = 50) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(0, 4, (count, 5)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_live_and_saved_statistics_equal_vecnormalize_bit_for_bit(
    dtype: type, tmp_path: Path
) -> None:
    space = spaces.Box(0, 200, (5,), dtype)
    vec = make_vec(space, clip_obs=1.25, epsilon=1e-4)
    vec.save(str(tmp_path / "vec.pkl"))
    seen = np.stack([space.sample() for _ in range(50)])
    for given in (vec, tmp_path / "vec.pkl", str(tmp_path / "vec.pkl")):
        normaliser = read_normaliser(given)
        assert normaliser is not None
        step = normaliser.step(np.dtype(dtype).name)
        assert step.dtype == np.dtype(dtype).name
        np.testing.assert_array_equal(step.apply(seen), vec.normalize_obs(seen))


def test_a_freshly_unpickled_vecnormalize_has_no_environment(tmp_path: Path) -> None:
    vec = make_vec()
    vec.save(str(tmp_path / "vec.pkl"))
    loaded = pickle.loads((tmp_path / "vec.pkl").read_bytes())
    normaliser = read_normaliser(loaded)
    assert normaliser is not None
    np.testing.assert_array_equal(normaliser.mean, vec.obs_rms.mean)
    assert normaliser.dtype is None


def test_a_mapping_and_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "vec.npz", **STATISTICS)
    for given in (STATISTICS, tmp_path / "vec.npz"):
        normaliser = read_normaliser(given)
        assert normaliser is not None
        z = normaliser.step("float32").apply(raw())
        expected = (raw() - STATISTICS["mean"]) / np.sqrt(STATISTICS["var"] + 1e-6)
        np.testing.assert_array_equal(z, np.clip(expected, -4, 4).astype(np.float32))


def test_no_normalisation() -> None:
    assert read_normaliser(None) is None
    assert read_normaliser(False) is None
    assert read_normaliser(make_vec(norm_obs=False)) is None


def test_normalised_images_keep_the_type_of_the_camera() -> None:
    space = spaces.Box(0, 255, (1, 6, 6), np.uint8)
    vec = VecNormalize(DummyVecEnv([lambda: Noise(space, ASYMMETRIC)]))
    model = make_model("PPO", env=vec, policy_kwargs={"net_arch": [4]})
    policy = sa.from_sb3(model, vecnormalize=vec)
    assert policy.observation.dtype == "uint8"
    seen = np.stack([space.sample() for _ in range(4)])
    expected = vec.normalize_obs(seen).reshape(4, -1)[:, policy.observation.columns]
    np.testing.assert_array_equal(policy.observation.apply(seen), expected)


def test_statistics_of_other_observations_are_refused(tmp_path: Path) -> None:
    stacked = VecFrameStack(make_vec(), 2)
    model = make_model("PPO", env=stacked)
    with pytest.raises(ValueError, match=r"statistics for .*\(10,\).* of shape \(5,\)"):
        sa.from_sb3(model, vecnormalize=model.get_vec_normalize_env())
    image = spaces.Box(0, 255, (1, 6, 6), np.uint8)
    both = {**STATISTICS, "mean": np.zeros((1, 6, 6)), "var": np.ones((1, 6, 6))}
    with pytest.raises(ValueError, match="divides by 255"):
        sa.from_sb3(make_model("PPO", image), vecnormalize=both)
    nested = make_vec(spaces.Dict({"a": OBSERVED}))
    with pytest.raises(ValueError, match=r"for .*Box.*, got those of shapes \{a: \(5,\)"):
        sa.from_sb3(make_model("PPO"), vecnormalize=nested)


def test_statistics_of_a_dict_are_its_entries(tmp_path: Path) -> None:
    space = spaces.Dict({"b": OBSERVED, "a": spaces.Discrete(3), "c": spaces.Box(-1, 1, (2, 2))})
    keys = ["b", "c"]
    vec = VecNormalize(DummyVecEnv([lambda: Noise(space, spaces.Discrete(4))]), norm_obs_keys=keys)
    vec.obs_rms["b"].mean, vec.obs_rms["b"].var = np.arange(5.0), np.full(5, 0.3)
    vec.obs_rms["c"].var = np.full((2, 2), 2.5)
    model = make_model("PPO", env=vec, policy="MultiInputPolicy")
    vec.save(str(tmp_path / "vec.pkl"))
    model.save(tmp_path / "model.zip")
    space.seed(1)
    drawn = [space.sample() for _ in range(32)]
    seen = {key: np.stack([one[key] for one in drawn]) for key in space}
    expected, _ = model.predict(vec.normalize_obs(seen), deterministic=True)
    for source, given in ((model, vec), (tmp_path / "model.zip", tmp_path / "vec.pkl")):
        policy = sa.from_sb3(source, vecnormalize=given)
        actions, _ = sa.compile(policy, tune=0).predict(seen)
        np.testing.assert_array_equal(actions, expected)
        assert policy.inputs["a"].categories == (3,)
        assert policy.inputs["b"].high == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"var": np.ones(4)}, r"mean and var of one shape, got \(5,\) and \(4,\)"),
        ({"var": np.full(5, -1.0)}, "expected var >= 0"),
        ({"var": np.full(5, np.nan)}, "expected var >= 0"),
        ({"epsilon": -1.0}, "epsilon >= 0"),
        ({"clip_obs": 0.0}, "clip_obs > 0"),
        ({"mean": np.full(5, np.inf)}, "shift: expected finite"),
    ],
)
def test_numbers_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sa.from_sb3(make_model("PPO"), vecnormalize={**STATISTICS, **change})


def test_what_holds_no_statistics(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"vecnormalize: expected a VecNormalize, .* got bool"):
        read_normaliser(True)
    with pytest.raises(ValueError, match="got none of epsilon, clip_obs"):
        read_normaliser({"mean": np.zeros(1), "var": np.ones(1)})
    with pytest.raises(FileNotFoundError):
        read_normaliser(tmp_path / "missing.pkl")
    (tmp_path / "vec.pkl").write_bytes(b"not a pickle")
    with pytest.raises(ValueError, match="expected a readable pickle"):
        read_normaliser(tmp_path / "vec.pkl")
    (tmp_path / "vec.pkl").write_bytes(pickle.dumps({"mean": 0}))
    with pytest.raises(ValueError, match=r"expected a pickled .*VecNormalize, got a dict"):
        read_normaliser(tmp_path / "vec.pkl")
    np.savez(tmp_path / "vec.npz", mean=np.array([None], dtype=object))
    with pytest.raises(ValueError, match=r"expected mean, var|Object arrays"):
        read_normaliser(tmp_path / "vec.npz")
