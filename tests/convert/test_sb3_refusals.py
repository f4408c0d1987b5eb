"""What from_sb3 cannot represent is refused by name, live and from the zip."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_models import OBSERVED, Noise, assert_same_actions, make_model
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import sparseagent as sa

# What is tested here has nothing to do with normalisers; zips of untrained models tell of none.
pytestmark = pytest.mark.filterwarnings("ignore::sparseagent.convert.NormaliserWarning")

IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)


class Sorted(BaseFeaturesExtractor):
    """A features extractor without weights, of what no op does."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=observation_space.shape[0])

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return observations.sort(dim=1).values


class Cubed(nn.Module):
    """An activation of one's own, of what no op does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


class Halved(ActorCriticPolicy):
    """A policy that acts in another way than its weights say."""

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        return super()._predict(observation, deterministic) / 2


class Renamed(ActorCriticPolicy):
    """A policy that acts as the one it derives from."""


class Lazy(PPO):
    """An algorithm that acts in another way."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return np.zeros(3, np.float32), None


class Custom(spaces.Space[Any]):
    """A space of its own."""


def edit_zip(path: Path, edit: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    edit(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def edit_data(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    def change(files: dict[str, bytes]) -> None:
        data = json.loads(files["data"])
        edit(data)
        files["data"] = json.dumps(data).encode()

    edit_zip(path, change)


def pickled(value: Any) -> dict[str, str]:
    return {":type:": "", ":serialized:": base64.b64encode(cloudpickle.dumps(value)).decode()}


UNSUPPORTED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "CnnPolicy": (
        lambda: make_model("PPO", IMAGE, policy="CnnPolicy"),
        r"got PPO with a Conv2d at 'policy.features_extractor.cnn.0'; policies of images cannot",
        r"policies.ActorCriticCnnPolicy; policies of images cannot be compiled yet",
    ),
    "DQN-CnnPolicy": (
        lambda: make_model("DQN", IMAGE, policy="CnnPolicy"),
        r"got DQN with a Conv2d at 'policy.q_net.features_extractor.cnn.0'",
        r"stable_baselines3.dqn.policies.CnnPolicy; policies of images",
    ),
    "image-in-a-Dict": (
        lambda: make_model("SAC", spaces.Dict({"a": IMAGE}), policy="MultiInputPolicy"),
        "got SAC with a Conv2d at 'policy.actor.features_extractor.extractors.a.cnn.0'",
        r"observation_space: a: expected a vector, got an image",
    ),
    "RecurrentPPO": (
        lambda: make_model("RecurrentPPO", policy="MlpLstmPolicy"),
        r"got RecurrentPPO with a LSTM at 'policy.lstm_actor'; policies with memory cannot",
        r"RecurrentActorCriticPolicy; policies with memory cannot be compiled yet",
    ),
    "Discrete-observation-start": (
        lambda: make_model("PPO", spaces.Discrete(4, start=3)),
        r"observation_space: .*count from 0, got Discrete\(4, start=3\)",
        r"observation_space: .*count from 0, got Discrete\(4, start=3\)",
    ),
    "float16-observation": (
        lambda: make_model("PPO", spaces.Box(-1, 1, (3,), np.float16)),
        "observation_space: expected dtype .* got float16",
        "observation_space: expected dtype .* got float16",
    ),
    "activation": (
        lambda: make_model("TD3", policy_kwargs={"activation_fn": Cubed}),
        r"module 'policy.actor.mu.1' \(Cubed\)",
        r"activation_fn: expected a class of torch.nn, got .*Cubed; pass activation=",
    ),
    "own-policy": (
        lambda: make_model("PPO", policy=Halved),  # type: ignore[arg-type]
        r"module 'policy' \(Halved\): expected the _predict of ActorCriticPolicy",
        "policy_class: expected the MlpPolicy or .* got .*Halved; pass algo=",
    ),
    "extractor": (
        lambda: make_model("A2C", policy_kwargs={"features_extractor_class": Sorted}),
        r"module 'policy.\w*features_extractor' \(Sorted\): sort: not representable",
        "features_extractor_class: expected FlattenExtractor or CombinedExtractor, got .*",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_the_unsupported_is_named(case: str, tmp_path: Path) -> None:
    make, live, saved = UNSUPPORTED[case]
    model = make()
    with pytest.raises((TypeError, ValueError), match=live):
        sa.from_sb3(model)
    model.save(tmp_path / "model.zip")
    with pytest.raises((TypeError, ValueError), match=saved):
        sa.from_sb3(tmp_path / "model.zip")


def test_a_subclass_that_changes_nothing_is_read(tmp_path: Path) -> None:
    model = make_model("PPO", policy=Renamed)  # type: ignore[arg-type]
    seen = np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32)
    assert_same_actions(model, sa.from_sb3(model), seen)
    model.save(tmp_path / "model.zip")
    with pytest.raises(TypeError, match=r"Renamed; pass algo="):
        sa.from_sb3(tmp_path / "model.zip")
    assert_same_actions(model, sa.from_sb3(tmp_path / "model.zip", algo="PPO"), seen)


def test_models_that_are_none() -> None:
    model = Lazy("MlpPolicy", Noise(OBSERVED, spaces.Discrete(2)), n_steps=8, batch_size=8)
    with pytest.raises(TypeError, match=r"module 'model' \(Lazy\): expected the predict of PPO"):
        sa.from_sb3(model)
    with pytest.raises(TypeError, match=r"model: expected a model of PPO, .* got Linear"):
        sa.from_sb3(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="algo, activation: expected None for a live model"):
        sa.from_sb3(make_model("PPO"), algo="PPO")


def test_layers_put_into_the_network_are_part_of_it(tmp_path: Path) -> None:
    model = make_model("SAC")
    model.actor.latent_pi.insert(1, nn.LayerNorm(24))
    seen = np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32)
    assert_same_actions(model, sa.from_sb3(model), seen)
    model = make_model("TD3")
    model.actor.mu = model.actor.mu[:-1]
    with pytest.raises(TypeError, match=r"'policy.actor.mu': expected a Tanh at its end"):
        sa.from_sb3(model)


def test_a_space_of_its_own_is_named() -> None:
    with pytest.raises(TypeError, match=r"action_space: expected a Box, Discrete, .* got Custom"):
        sa.from_sb3(make_model("PPO"), action_space=Custom())


def test_spaces_must_fit_the_network(tmp_path: Path) -> None:
    make_model("DQN").save(tmp_path / "model.zip")
    for source in (make_model("DQN"), tmp_path / "model.zip"):
        with pytest.raises(ValueError, match=r"action_space: .*4 outputs, got Discrete\(3\)"):
            sa.from_sb3(source, action_space=spaces.Discrete(3))
        with pytest.raises(ValueError, match=r"action_space: .*own, Discrete\(4\), got Box"):
            sa.from_sb3(source, action_space=spaces.Box(-1, 1, (3,)))
        with pytest.raises(ValueError, match="expected 7 inputs, got 5"):
            sa.from_sb3(source, observation_space=spaces.Box(-1, 1, (7,)))


def test_outputs_keep_their_meaning(tmp_path: Path) -> None:
    """Seven logits of two choices are no choice of seven."""
    model = make_model("PPO", OBSERVED, spaces.MultiDiscrete([3, 4]))
    model.save(tmp_path / "model.zip")
    for source in (model, tmp_path / "model.zip"):
        with pytest.raises(ValueError, match=r"own, MultiDiscrete\(\[3, 4\]\), got Discrete\(7\)"):
            sa.from_sb3(source, action_space=spaces.Discrete(7))


def test_what_a_zip_does_not_tell_can_be_said(tmp_path: Path) -> None:
    """A lambda lies in the zip as a call that nobody carries out."""
    model = make_model("PPO", policy_kwargs={"activation_fn": lambda: nn.LeakyReLU(0.2)})
    path = tmp_path / "model.zip"
    model.save(path)
    seen = np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32)
    with pytest.raises(ValueError, match=r"activation_fn: .*pass activation="):
        sa.from_sb3(path)
    assert_same_actions(model, sa.from_sb3(path, activation=nn.LeakyReLU(0.2)), seen)
    with pytest.raises(ValueError, match=r"activation: expected an nn.Module or one of .* 'swish'"):
        sa.from_sb3(path, activation="swish")
    for given in ("tanh", nn.Tanh):
        assert sa.from_sb3(path, activation=given).layers[0].activation == "tanh"
    edit_data(path, lambda data: data.pop("action_space"))
    with pytest.raises(
        TypeError, match=r"action_space: expected a Box, Discrete, .* space, got None"
    ):
        sa.from_sb3(path, activation=nn.LeakyReLU(0.2))
    stated = sa.from_sb3(
        path, activation=nn.LeakyReLU(0.2), action_space=model.action_space, algo="A2C"
    )
    assert_same_actions(model, stated, seen)
    assert stated.metadata["algorithm"] == "A2C"


def test_a_missing_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    for name in ("none", "none.zip"):
        with pytest.raises(FileNotFoundError) as caught:
            sa.from_sb3(tmp_path / name)
        assert caught.value.filename == str(tmp_path / "none.zip")


def test_statements_must_not_contradict_the_zip(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    make_model("SAC").save(path)
    with pytest.raises(ValueError, match=r"algo: expected one that fits .*SACPolicy, got 'TD3'"):
        sa.from_sb3(path, algo="TD3")
    with pytest.raises(ValueError, match=r"algo: expected one of PPO, .* got 'XYZ'"):
        sa.from_sb3(path, algo="XYZ")


def test_keyword_arguments_that_are_not_known_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    make_model("PPO").save(path)
    edit_data(path, lambda data: data.update(policy_kwargs={"dueling": True}))
    with pytest.raises(
        ValueError, match=r"policy_kwargs: expected those of .* got dueling as well"
    ):
        sa.from_sb3(path)
    edit_data(path, lambda data: data.update(policy_kwargs=pickled([1])))
    with pytest.raises(ValueError, match="policy_kwargs: expected a dict, got a list"):
        sa.from_sb3(path)


def edit_tensors(path: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    def change(files: dict[str, bytes]) -> None:
        tensors = torch.load(io.BytesIO(files["policy.pth"]), weights_only=True)
        edit(tensors)
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        files["policy.pth"] = buffer.getvalue()

    edit_zip(path, change)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("action_net.weight"), "action_net: expected weight"),
        (lambda t: t.pop("mlp_extractor.policy_net.0.weight"), "policy_net.0: expected weight"),
        (
            lambda t: t.update({"mlp_extractor.policy_net.6.weight": torch.zeros(3, 3)}),
            "without a gap",
        ),
        (
            lambda t: t.update({"mlp_extractor.policy_net.1.weight": torch.zeros(3)}),
            "'mlp_extractor.policy_net.1.weight'",
        ),
        (
            lambda t: t.update({"mlp_extractor.shared_net.0.weight": torch.zeros(3, 3)}),
            "'mlp_extractor.shared_net.0.weight'",
        ),
        (
            lambda t: t.update({"features_extractor.linear.weight": torch.zeros(3, 3)}),
            "'features_extractor.linear.weight'",
        ),
        (lambda t: t.update({"action_net.bias": torch.zeros(9)}), "action_net: expected weight"),
        (lambda t: t.update({"action_net.weight": torch.zeros(9)}), "action_net: expected weight"),
        (
            lambda t: t.update({"action_net.weight": t["action_net.weight"].double()}),
            "policy.pth: action_net.weight: expected float32, got torch.float64",
        ),
        (
            lambda t: t["action_net.weight"].fill_(float("nan")),
            r"module 'policy.action_net' \(Linear\): linear: weight: expected finite",
        ),
        (
            lambda t: t.update({"action_net.weight": torch.ones(3, 9)}),
            r"module 'policy.action_net' \(Linear\): linear: expected 16 inputs",
        ),
    ],
)
def test_tensors_that_no_mlp_policy_has(
    edit: Callable[[Any], Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.zip"
    make_model("PPO").save(path)
    edit_tensors(path, edit)
    with pytest.raises((TypeError, ValueError), match=message):
        sa.from_sb3(path)
