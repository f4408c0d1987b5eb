"""The normaliser of a zip: found beside it, missed, or known not to have been there."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from sb3_models import ASYMMETRIC, OBSERVED, Noise, assert_same_actions, make_model
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import sparseagent as sa
from sparseagent.convert import NormaliserWarning

ZOO = """!!python/object/apply:collections.OrderedDict
- - - gamma
    - 0.99
  - - n_timesteps
    - 1000000.0
{entry}  - - policy
    - MlpPolicy
"""


def make_vec(
    steps: int = 10, space: spaces.Box = OBSERVED, discrete: bool = False, **options: Any
) -> VecNormalize:
    actions = spaces.Discrete(4) if discrete else ASYMMETRIC
    vec = VecNormalize(DummyVecEnv([lambda: Noise(space, actions)]), **options)
    vec.reset()
    for _ in range(steps):
        vec.step(np.array([actions.sample()]))
    vec.training = False
    return vec


def saved_model(folder: Path, algorithm: str = "SAC", name: str = "Agent-v1.zip") -> Any:
    """A model that says nothing: it was not trained, or is none of PPO and A2C."""
    model = make_model(algorithm)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / name)
    return model


def trained(folder: Path, vec: VecNormalize | None = None) -> Any:
    """A PPO that has learned: its zip remembers whether there was a VecNormalize."""
    model = make_model("PPO", env=vec)
    model.learn(8)
    model.save(folder / "ppo.zip")
    return model


def raw(count: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(0, 4, (count, 5)).astype(np.float32)


PLACES = {
    "zoo": ("Agent-v1.zip", "Agent-v1/vecnormalize.pkl"),
    "hub": ("Agent-v1.zip", "vec_normalize.pkl"),
    "folder": ("Agent-v1.zip", "vecnormalize.pkl"),
    "run": ("pruned.zip", "pruned_vecnormalize.pkl"),
    "checkpoint": ("rl_model_5000_steps.zip", "rl_model_vecnormalize_5000_steps.pkl"),
    "best": ("best_model.zip", "Agent-v1/vecnormalize.pkl"),
}


@pytest.mark.parametrize("place", PLACES)
def test_statistics_beside_a_zip_are_built_in(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zipped, pickled = PLACES[place]
    model, vec = saved_model(tmp_path, name=zipped), make_vec(clip_obs=2.0)
    file = tmp_path / pickled
    file.parent.mkdir(exist_ok=True)
    vec.save(str(file))
    with caplog.at_level("INFO"):
        policy = sa.from_sb3(tmp_path / zipped)
    assert_same_actions(model, policy, raw(), vec.normalize_obs)
    assert f"normalised by {file}" in caplog.text
    assert policy.metadata["vecnormalize"] == "built in"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert policy.metadata["vecnormalize_file"] == {"name": file.name, "sha256": digest}
    assert sa.from_sb3(tmp_path / zipped, vecnormalize=False).observation.is_identity
    named = sa.from_sb3(tmp_path / zipped, vecnormalize=file)
    assert named.metadata == policy.metadata


def test_a_path_without_its_suffix_finds_them_too(tmp_path: Path) -> None:
    model, vec = saved_model(tmp_path, name="agent"), make_vec()
    vec.save(str(tmp_path / "agent_vecnormalize.pkl"))
    assert_same_actions(model, sa.from_sb3(tmp_path / "agent"), raw(), vec.normalize_obs)


def test_statistics_beside_a_zip_are_read_and_not_run(tmp_path: Path) -> None:
    saved_model(tmp_path)
    (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps({"mean": 0}))
    with pytest.raises(ValueError, match=r"vecnormalize.pkl: expected a pickled .*--no-vecnormal"):
        sa.from_sb3(tmp_path / "Agent-v1.zip")


def test_equal_files_are_one_and_others_are_named(tmp_path: Path) -> None:
    saved_model(tmp_path)
    vec = make_vec()
    for name in ("vecnormalize.pkl", "vec_normalize.pkl"):
        vec.save(str(tmp_path / name))
    assert sa.from_sb3(tmp_path / "Agent-v1.zip").metadata["vecnormalize"] == "built in"
    make_vec(steps=5).save(str(tmp_path / "vec_normalize.pkl"))
    with pytest.raises(ValueError, match=r"vecnormalize.pkl and .*vec_normalize.pkl, which differ"):
        sa.from_sb3(tmp_path / "Agent-v1.zip")
    named = sa.from_sb3(tmp_path / "Agent-v1.zip", vecnormalize=tmp_path / "vecnormalize.pkl")
    assert named.metadata["vecnormalize"] == "built in"
    make_vec(norm_obs=False).save(str(tmp_path / "vec_normalize.pkl"))
    with pytest.raises(ValueError, match="which differ"):
        sa.from_sb3(tmp_path / "Agent-v1.zip")


def test_rewards_alone_were_normalised(tmp_path: Path) -> None:
    saved_model(tmp_path)
    make_vec(norm_obs=False).save(str(tmp_path / "vecnormalize.pkl"))
    policy = sa.from_sb3(tmp_path / "Agent-v1.zip")
    assert policy.observation.is_identity
    assert policy.metadata["vecnormalize"] == "none"
    assert policy.metadata["vecnormalize_file"]["name"] == "vecnormalize.pkl"


def test_statistics_of_another_agent_are_named(tmp_path: Path) -> None:
    saved_model(tmp_path)
    make_vec(space=spaces.Box(-1, 1, (7,))).save(str(tmp_path / "vecnormalize.pkl"))
    with pytest.raises(
        ValueError, match=r"Agent-v1.zip, which observes .*\(5,\).* of shape \(7,\) from .*pkl"
    ):
        sa.from_sb3(tmp_path / "Agent-v1.zip")


def test_silence_is_answered_with_a_warning(tmp_path: Path) -> None:
    saved_model(tmp_path)
    with pytest.warns(NormaliserWarning, match=r"Agent-v1.zip: .*vecnormalize=False") as caught:
        policy = sa.from_sb3(tmp_path / "Agent-v1.zip")
    assert caught[0].filename == __file__
    assert policy.metadata["vecnormalize"] == "not stated"
    with pytest.warns(NormaliserWarning, match="SAC model without an environment") as caught:
        sa.from_sb3(make_model("SAC").__class__.load(tmp_path / "Agent-v1.zip", device="cpu"))
    assert caught[0].filename == __file__


def quietly(*args: Any, **options: Any) -> sa.SparsePolicy:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return sa.from_sb3(*args, **options)


def test_a_trained_ppo_remembers_that_there_was_none(tmp_path: Path) -> None:
    trained(tmp_path)
    loaded = PPO.load(tmp_path / "ppo.zip", device="cpu")
    for source in (tmp_path / "ppo.zip", loaded):
        assert quietly(source).metadata["vecnormalize"] == "none"
    make_vec().save(str(tmp_path / "vecnormalize.pkl"))
    with pytest.raises(ValueError, match=r"the zip says that there was no VecNormalize, got .*pkl"):
        sa.from_sb3(tmp_path / "ppo.zip")


def test_a_trained_ppo_remembers_that_there_was_one(tmp_path: Path) -> None:
    vec = make_vec()
    model = trained(tmp_path, vec)
    for source in (tmp_path / "ppo.zip", PPO.load(tmp_path / "ppo.zip", device="cpu")):
        with pytest.raises(ValueError, match=r"vecnormalize: expected .* from before a VecNorm"):
            sa.from_sb3(source)
        assert quietly(source, vecnormalize=False).observation.is_identity
    vec.save(str(tmp_path / "ppo_vecnormalize.pkl"))
    assert_same_actions(model, quietly(tmp_path / "ppo.zip"), raw(), vec.normalize_obs)


SAYS: dict[str, tuple[str, str, bool | None]] = {
    "zoo": ("Agent-v1/config.yml", "  - - normalize\n    - true\n", True),
    "zoo-text": ("Agent-v1/config.yml", "  - - normalize\n    - '{''norm_obs'': True}'\n", True),
    "zoo-rewards": (
        "Agent-v1/config.yml",
        "  - - normalize\n    - dict(norm_obs=False, norm_reward=True)\n",
        False,
    ),
    "zoo-kwargs": (
        "Agent-v1/config.yml",
        "  - - normalize\n    - true\n  - - normalize_kwargs\n    - norm_obs: false\n",
        False,
    ),
    "zoo-false": ("Agent-v1/config.yml", "  - - normalize\n    - false\n", False),
    "zoo-nothing": ("Agent-v1/config.yml", "", False),
    "hub": ("config.yml", "  - - normalize\n    - true\n", True),
}


@pytest.mark.parametrize("case", SAYS)
def test_the_configuration_beside_a_zip_is_heard(case: str, tmp_path: Path) -> None:
    name, entry, normalised = SAYS[case]
    saved_model(tmp_path)
    (tmp_path / "Agent-v1").mkdir()
    (tmp_path / name).write_text(ZOO.format(entry=entry))
    if normalised:
        with pytest.raises(ValueError, match=r"expected statistics .*config.yml, says normalize: "):
            sa.from_sb3(tmp_path / "Agent-v1.zip")
    else:
        assert quietly(tmp_path / "Agent-v1.zip").metadata["vecnormalize"] == "none"
        make_vec().save(str(tmp_path / "vecnormalize.pkl"))
        with pytest.raises(ValueError, match=r"config.yml says that there was no VecNormalize"):
            sa.from_sb3(tmp_path / "Agent-v1.zip")


@pytest.mark.parametrize("folder", ["", "seed_3"])
@pytest.mark.parametrize("normalised", [True, False])
def test_the_configuration_of_a_run_is_heard(folder: str, normalised: bool, tmp_path: Path) -> None:
    from sparseagent.train import RunConfig

    saved_model(tmp_path / folder, name="dense.zip")
    RunConfig(env="Pendulum-v1", algo="sac", normalize=normalised).save(tmp_path / "config.json")
    if normalised:
        with pytest.raises(ValueError, match=r"config.json, says normalize: true"):
            sa.from_sb3(tmp_path / folder / "dense.zip")
    else:
        assert quietly(tmp_path / folder / "dense.zip").metadata["vecnormalize"] == "none"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff" * 100, b"{" * 100_000, b"\n" * 1_000_000, b"normalize: true\n", b"[1]"),
        b"policy: n_timesteps\n" + b"normalize\n" * 50_000,
    ],
)
@pytest.mark.parametrize("name", ["config.yml", "config.json"])
def test_other_configurations_say_nothing(name: str, content: bytes, tmp_path: Path) -> None:
    saved_model(tmp_path)
    (tmp_path / name).write_bytes(content)
    expected = "none" if b"policy" in content and name == "config.yml" else "not stated"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NormaliserWarning)
        policy = sa.from_sb3(tmp_path / "Agent-v1.zip")
    assert policy.metadata["vecnormalize"] == expected
