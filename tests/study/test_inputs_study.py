"""The arms of the study of irrelevant inputs, and what its files may not change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from stable_baselines3 import PPO

import sparseagent as sa
from sparseagent.distractors import parse_distraction
from sparseagent.prune import ProximalL1
from sparseagent.study.cells import cells_of
from sparseagent.study.config import load_study, parse_study
from sparseagent.study.execute import execute
from sparseagent.study.method import METHODS
from sparseagent.study.method.narrow import equal_parameters, equal_weights
from sparseagent.study.method.tiny_latency import WIDTHS, equal_latency
from sparseagent.study.penalised import Penalised, l1_strength
from sparseagent.study.runner import check_settings_agree
from sparseagent.train import configure
from sparseagent.train.agent import make_envs, make_model
from sparseagent.train.architecture import weight_count
from sparseagent.train.progress import Display

STUDIES = Path(__file__).resolve().parents[2] / "bench" / "studies"
ENV = "sparseagent/CartPole-Noise20-v1"
SHORT = {
    "total_timesteps": 512,
    "normalize": True,
    "prune_start": 0.1,
    "prune_stop": 0.6,
    "hyperparameters": {"n_epochs": 2, "n_steps": 16, "batch_size": 64},
}


def _cell(content, name, env=ENV, **settings):
    content["methods"] = {name: {"sparsity": 0.9} if METHODS[name].has_sparsity else None}
    content["environments"] = [{"env": env, "algos": "ppo", "settings": {**SHORT, **settings}}]
    return cells_of(parse_study(content))[0]


def _execute(cell):
    return execute(cell, Display(Console(quiet=True)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gmp_inputs", "gmp_drift", "tiny_both", "linear", "dense_l1"])
def test_an_arm_acts_in_the_environment_with_distractors(name, content, in_tmp):
    cell = _cell(content, name)
    row = _execute(cell)
    assert row["full"] == 24 * 64 + 64 * 64 + 64 * 2
    policy = sa.load(cell.folder / "policy.safetensors")
    assert policy.metadata["environment"] == ENV
    assert policy.observation.shape == (24,)
    if name.startswith("gmp"):
        assert row["critic_sparsity"] == pytest.approx(0.9, abs=1e-3)


@pytest.mark.slow
def test_the_oracle_acts_without_distractors_but_stands_beside_the_others(content, in_tmp):
    cell = _cell(content, "oracle")
    row = _execute(cell)
    assert (row["env"], row["network"], row["full"]) == (ENV, "4-64-64-2", 5760)
    policy = sa.load(cell.folder / "policy.safetensors")
    assert policy.metadata["environment"] == "CartPole-v1"
    dense = _execute(_cell(content, "dense", env="CartPole-v1"))
    assert row["mean"] == dense["mean"]


@pytest.mark.slow
def test_whole_inputs_are_what_is_kept(content, in_tmp):
    cell = _cell(content, "gmp_inputs")
    _execute(cell)
    model = PPO.load(next(cell.folder.rglob("pruned.zip")), device="cpu")
    for net in (model.policy.mlp_extractor.policy_net, model.policy.mlp_extractor.value_net):
        counts = (net[0].weight != 0).sum(0)
        assert int((counts > 0).sum()) < 12
        partly = (counts > 0) & (counts < 64)
        assert int(partly.sum()) <= 2


@pytest.mark.slow
def test_the_critic_is_as_narrow(content, in_tmp):
    cell = _cell(content, "tiny_both")
    row = _execute(cell)
    model = PPO.load(next(cell.folder.rglob("tiny.zip")), device="cpu")
    width = int(row["network"].split("-")[1])
    assert [m.out_features for m in model.policy.mlp_extractor.value_net[::2]] == [width] * 2


def test_widths_of_equal_weights_parameters_and_latency():
    config = configure("sparseagent/CartPole-Noise200-v1", sparsity=0.95)
    kept = round(0.05 * weight_count(204, (64, 64), 2))
    assert (kept, equal_weights(config)) == (864, (4, 4))
    # 864 weights and 130 biases: 850 and 1,067 parameters are the nearest.
    assert weight_count(204, (4, 4), 2, biases=True) == 850
    assert weight_count(204, (5, 5), 2, biases=True) == 1067
    assert equal_parameters(config) == (5, 5)
    assert equal_latency(config) == (WIDTHS[config.env, 0.95],) * 2
    with pytest.raises(ValueError, match=r"tiny_latency: expected a measured width for CartPole"):
        equal_latency(configure("CartPole-v1", sparsity=0.95))


def test_l1_shrinks_the_input_layer_of_the_actor_alone():
    short = {"n_steps": 64, "batch_size": 64, "n_epochs": 1, "learning_rate": 0.5}
    config = configure(ENV, total_timesteps=128, n_envs=1, hyperparameters=short)
    model = make_model(config, make_envs(config, 0), 0)
    before = {k: v.clone() for k, v in model.policy.state_dict().items()}
    model.learn(64, callback=Penalised(ProximalL1(4.0)))  # a threshold of 2, above all weights
    after = model.policy.state_dict()
    inputs = "mlp_extractor.policy_net.0.weight"
    assert not after[inputs].any()
    assert torch.count_nonzero(after["mlp_extractor.value_net.0.weight"]) > 1000
    assert not torch.equal(after["action_net.weight"], before["action_net.weight"])
    # Nothing is left behind.
    model.learn(64)
    assert model.policy.state_dict()[inputs].any()


def test_strengths_are_for_what_is_added():
    assert l1_strength("sparseagent/CartPole-Foreign50-v1") == 0.2
    assert l1_strength("sparseagent/Acrobot-Noise200-v1") == l1_strength("CartPole-v1") == 0.5
    assert parse_distraction("CartPole-v1") is None


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_rows_of_the_projects_own_studies_stay_valid(path):
    study = load_study(path)
    check_settings_agree(cells_of(study), STUDIES / "results" / "results.csv")


def test_every_width_that_the_study_needs_is_measured():
    for cell in cells_of(load_study(STUDIES / "inputs.yaml")):
        if cell.method.name == "tiny_latency":
            assert equal_latency(cell.config)
