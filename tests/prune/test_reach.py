"""What the sparsifier says of an agent: what cannot be compiled, what it does not reach."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import sparseagent as sa
from sparseagent import prune
from sparseagent.convert import MasksWarning

sys.path.insert(0, str(Path(__file__).parents[1] / "convert"))
from sb3_models import OBSERVED, make_model

IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
HALF = {"score": prune.Magnitude(), "schedule": prune.OneShot(to=0.5)}


def sparsifier(model: Any, **options: Any) -> prune.Sparsifier:
    return prune.Sparsifier(getattr(model, "policy", model), **{**HALF, **options})


class Encoder(BaseFeaturesExtractor):
    """A layer that actor and critic share."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=40)
        self.layer = nn.Linear(5, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


class Fourier(Encoder):
    """The same, with what no op does behind it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(self.layer(x)).real


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN", "SAC", "TD3", "DDPG"])
def test_what_compiles_and_is_reached_is_not_spoken_of(algorithm: str) -> None:
    found = sparsifier(make_model(algorithm, sparsity=0.0), critic_sparsity=None)
    assert found.sparsity() == 0.0
    found.step(1.0)
    assert found.sparsity() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("algorithm", ["TRPO", "MaskablePPO", "QRDQN", "TQC", "CrossQ", "ARS"])
def test_agents_of_contrib_have_their_parts(algorithm: str) -> None:
    found = sparsifier(make_model(algorithm, sparsity=0.0))
    part = "q_net" if algorithm == "QRDQN" else "actor"
    assert next(iter(found.parts)) == part
    assert ("critic" in found.parts) == (algorithm in ("TQC", "CrossQ"))
    found.step(1.0)
    assert found.sparsity() == pytest.approx(0.5, abs=1e-3)
    assert found.sparsity(part) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("algorithm", "policy"), [("PPO", "CnnPolicy"), ("DQN", "CnnPolicy")])
def test_images_are_refused_before_training(algorithm: str, policy: str) -> None:
    with pytest.raises(TypeError, match=r"training it would be for nothing: .* Conv2d at 'policy"):
        sparsifier(make_model(algorithm, IMAGE, policy=policy))


def test_memory_is_refused_before_training() -> None:
    with pytest.raises(TypeError, match=r"training it would be for nothing: .* LSTM at 'policy"):
        sparsifier(make_model("RecurrentPPO", policy="MlpLstmPolicy"))


def test_a_policy_that_cannot_be_compiled_is_named_in_the_words_of_conversion() -> None:
    kwargs = {"features_extractor_class": Fourier, "share_features_extractor": False}
    model = make_model("PPO", policy_kwargs=kwargs)
    with pytest.raises(TypeError) as refusal:
        sa.from_sb3(model)
    with pytest.warns(prune.PruningWarning) as warned:
        sparsifier(model)
    assert str(warned[0].message) == (
        f"this policy can be pruned, but not be compiled yet: {refusal.value}"
    )
    assert warned[0].filename == __file__


def test_weights_out_of_reach_are_counted() -> None:
    model = make_model("PPO", sparsity=0.0, policy_kwargs={"features_extractor_class": Encoder})
    acting = 5 * 40 + 40 * 64 + 64 * 64 + 64 * 3
    beyond = rf"200 of the {acting:,} weights .* dense: features_extractor.layer \(Linear\)"
    with pytest.warns(prune.PruningWarning, match=beyond):
        found = sparsifier(model)
    found.step(1.0)
    assert found.sparsity("actor") == pytest.approx(0.5, abs=1e-3)
    kept = 200 + (acting - 200) // 2
    assert found.sparsity() == pytest.approx(1 - kept / acting, abs=1e-4)
    last = found.summary().splitlines()[-1].split()
    assert last == f"acting network in all {kept} {acting} {1 - kept / acting:.4f}".split()
    # Whoever chooses among the layers knows what stays dense.
    assert sparsifier(model, layers=["features_extractor"]).parts


def test_a_sparsifier_that_never_pruned_is_named_at_conversion() -> None:
    model = make_model("PPO", sparsity=0.0)
    found = sparsifier(model)
    with pytest.warns(MasksWarning, match=r"never pruned anything: pass callback=sparsifier.callb"):
        sa.from_sb3(model)
    found.step(1.0)
    assert sa.from_sb3(model).sparsity > 0.4
    with torch.no_grad():
        model.policy.mlp_extractor.policy_net[0].weight.fill_(1.0)
    with pytest.warns(MasksWarning, match=r"weights that its Sparsifier has pruned are not zero"):
        sa.from_sb3(model)
    found.apply()
    sa.from_sb3(model)


def test_zeros_that_were_lost_by_training_on_are_named(tmp_path: Path) -> None:
    model = make_model("PPO", sparsity=0.0)
    found = sparsifier(model)
    model.learn(16, callback=found.callback())
    model.save(tmp_path / "pruned.zip")
    sa.from_sb3(tmp_path / "pruned.zip", vecnormalize=False)
    loaded = type(model).load(tmp_path / "pruned.zip", env=model.get_env(), device="cpu")
    sa.from_sb3(loaded)
    loaded.learn(16)
    loaded.save(tmp_path / "dense.zip")
    words = r"pruned to a sparsity of 0\.50\d, of which 0\.\d+ is left: .* without its masks"
    for source in (loaded, tmp_path / "dense.zip"):
        with pytest.warns(MasksWarning, match=words):
            sa.from_sb3(source, vecnormalize=False)
    # The way out that the warning names.
    again = type(model).load(tmp_path / "pruned.zip", env=model.get_env(), device="cpu")
    kept = sparsifier(again)
    kept.take_over(prune.found_masks(again.policy))
    again.learn(16, callback=kept.callback())
    assert sa.from_sb3(again).sparsity > 0.4


def test_nobody_is_kept_alive_for_the_notes() -> None:
    import gc
    import weakref

    model = make_model("PPO", sparsity=0.0)
    found = weakref.ref(sparsifier(model))
    gc.collect()
    assert found() is None
    sa.from_sb3(model)
    policy = weakref.ref(model.policy)
    del model
    gc.collect()
    assert policy() is None


def test_a_sparsifier_shows_itself() -> None:
    model = make_model("SAC", OBSERVED, sparsity=0.0)
    assert repr(sparsifier(model)) == "<Sparsifier of SACPolicy: actor 0.0000, critic 0.0000>"


@pytest.mark.parametrize("algorithm", ["TRPO", "MaskablePPO", "QRDQN", "TQC", "CrossQ"])
def test_agents_of_contrib_are_pruned_while_they_learn(algorithm: str) -> None:
    settings = {} if algorithm in ("TRPO", "MaskablePPO") else {"learning_starts": 4}
    model = make_model(algorithm, sparsity=0.0, **settings)
    found = sparsifier(model)
    masking = {"use_masking": False} if algorithm == "MaskablePPO" else {}
    model.learn(32, callback=found.callback(), **masking)
    assert found.finished
    assert found.sparsity() == pytest.approx(0.5, abs=1e-3)
    policy = sa.from_sb3(model, vecnormalize=False)
    seen = np.random.default_rng(0).normal(0, 1, (16, 5)).astype(np.float32)
    expected, _ = model.predict(seen, deterministic=True)
    actions, _ = sa.compile(policy, tune=0).predict(seen)
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
    kept = sa.from_sb3(model, vecnormalize=False, masks=found)
    # The means over QR-DQN's quantiles are one small layer that reads what any of them reads.
    assert kept.sparsity > (0.1 if algorithm == "QRDQN" else 0.4)
