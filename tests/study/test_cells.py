"""Which trainings a study asks for, in which order, and what tells them apart."""

from __future__ import annotations

import pytest

from sparseagent.study.cells import cells_of, select_seeds
from sparseagent.study.config import parse_study
from sparseagent.study.method import METHODS
from sparseagent.train import configure
from sparseagent.train.choices import DEFAULTS
from sparseagent.train.config import RunConfig


def _short(cell):
    return (cell.seed, cell.config.env, cell.config.algo, cell.method.name, cell.sparsity)


def test_seed_by_seed(content):
    one_seed = [
        ("CartPole-v1", "ppo", "dense", 0.0),
        ("CartPole-v1", "ppo", "tiny", 0.9),
        ("CartPole-v1", "ppo", "gmp", 0.9),
        ("CartPole-v1", "ppo", "gmp", 0.95),
        ("CartPole-v1", "dqn", "dense", 0.0),
        ("CartPole-v1", "dqn", "tiny", 0.9),
        ("CartPole-v1", "dqn", "gmp", 0.9),
        ("CartPole-v1", "dqn", "gmp", 0.95),
        ("Acrobot-v1", "ppo", "dense", 0.0),
        ("Acrobot-v1", "ppo", "gmp", 0.9),
        ("Acrobot-v1", "ppo", "gmp", 0.95),
    ]
    expected = [(seed, *rest) for seed in (0, 1) for rest in one_seed]
    assert [_short(cell) for cell in cells_of(parse_study(content))] == expected


def test_the_first_seeds(content):
    content["seeds"] = [7, 3, 5]
    cells = cells_of(parse_study(content))
    assert {cell.seed for cell in select_seeds(cells, 2)} == {7, 3}
    assert select_seeds(cells, None) == cells
    with pytest.raises(ValueError, match="seeds: expected 1 or more, got 0"):
        select_seeds(cells, 0)


def test_settings_of_environment_and_method_come_together(content):
    content["environments"][0]["settings"] = {
        "total_timesteps": 5000,
        "hyperparameters": {"n_steps": 64, "gamma": 0.9},
    }
    content["environments"][0]["algos"] = "ppo"
    content["methods"]["gmp"]["settings"] = {
        "prune_stop": 0.5,
        "hyperparameters": {"gamma": 0.8},
    }
    cells = {(c.config.env, c.method.name): c.config for c in cells_of(parse_study(content))}
    dense, gmp = cells["CartPole-v1", "dense"], cells["CartPole-v1", "gmp"]
    assert (dense.total_timesteps, dense.prune_stop) == (5000, 0.8)
    assert (gmp.total_timesteps, gmp.prune_stop) == (5000, 0.5)
    assert dense.hyperparameters["gamma"] == 0.9
    assert gmp.hyperparameters["gamma"] == 0.8
    assert gmp.hyperparameters["n_steps"] == 64
    assert gmp.hyperparameters["gae_lambda"] == 0.8  # the preset's
    assert cells["Acrobot-v1", "dense"].total_timesteps == 1_000_000


@pytest.mark.parametrize(
    ("method", "name", "value", "fixed"),
    [
        ("gmp", "score", "taylor", "magnitude"),
        ("static", "prune_start", 0.4, "0.0"),
        ("gmp_critic", "critic_sparsity", 0.5, "0.9"),
    ],
)
def test_what_a_method_fixes_cannot_be_set(content, method, name, value, fixed):
    content["methods"] = {method: {"sparsity": 0.9, "settings": {name: value}}}
    content["environments"] = [{"env": "CartPole-v1", "algos": "ppo"}]
    message = f"{method}: settings.{name}: expected none, for the method fixes it at {fixed}, got"
    with pytest.raises(ValueError, match=message):
        cells_of(parse_study(content))
    # An environment's settings are for all methods: there the method's own go first.
    content["methods"][method].pop("settings")
    content["environments"][0]["settings"] = {name: value}
    assert str(getattr(cells_of(parse_study(content))[0].config, name)) == fixed


@pytest.mark.parametrize(
    ("method", "settings"), [("hybrid", {"neurons": 0.7}), ("set", {"drop_fraction": 0.5})]
)
def test_a_setting_that_only_this_method_looks_at(content, method, settings):
    content["methods"] = {method: {"sparsity": 0.9, "settings": settings}}
    content["environments"] = [{"env": "CartPole-v1", "algos": "ppo"}]
    ((name, value),) = settings.items()
    assert getattr(cells_of(parse_study(content))[0].config, name) == value


def test_every_cell_has_a_folder_of_its_own(content):
    cells = cells_of(parse_study(content))
    assert len({cell.folder for cell in cells}) == len(cells)
    assert len({cell.key for cell in cells}) == len(cells)


def test_the_fingerprint_knows_settings_alone(content):
    cells = cells_of(parse_study(content))
    first, other_seed = cells[0], cells[11]
    assert (first.method.name, other_seed.method.name) == ("dense", "dense")
    assert first.fingerprint == other_seed.fingerprint
    content["runs"] = "elsewhere"
    assert cells_of(parse_study(content))[0].fingerprint == first.fingerprint
    content["environments"][0]["settings"] = {"net_arch": [32]}
    assert cells_of(parse_study(content))[0].fingerprint != first.fingerprint


def test_a_wrong_value_names_environment_and_method(content):
    content["methods"]["gmp"]["settings"] = {"score": "best"}
    with pytest.raises(ValueError, match="CartPole-v1, ppo, gmp: score: expected one of"):
        cells_of(parse_study(content))


@pytest.mark.parametrize(
    ("sparsity", "neurons"), [(0.3, 0.0), (0.5, 0.0), (0.9, 0.5528), (0.98, 0.8)]
)
def test_the_narrow_hybrid_leaves_twice_the_weights_to_choose_from(content, sparsity, neurons):
    content["methods"] = {"hybrid_narrow": {"sparsity": sparsity}}
    content["environments"] = [{"env": "CartPole-v1", "algos": "ppo"}]
    config = cells_of(parse_study(content))[0].config
    assert (config.pattern, config.neurons) == ("hybrid", neurons)
    # Between two hidden layers, which hold most weights.
    assert (1 - neurons) ** 2 == pytest.approx(min(1.0, 2 * (1 - sparsity)), abs=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_named_as_their_files_and_fit_the_protocol(name, content):
    method = METHODS[name]
    assert type(method).__module__.startswith("sparseagent.study.method")
    assert method.name == name
    content["methods"] = {name: {"sparsity": 0.5} if method.has_sparsity else None}
    content["environments"] = [{"env": "CartPole-v1", "algos": "ppo"}]
    (cell, _) = cells_of(parse_study(content))
    assert cell.config.env == "CartPole-v1"
    assert method.label


def test_the_products_defaults_are_none_of_a_study(content):
    """Rows that were made must stay valid whatever the defaults become."""
    assert configure("CartPole-v1").pattern == DEFAULTS["pattern"] == "fan_in"
    configs = [cell.config for cell in cells_of(parse_study(content))]
    assert configs
    for name in DEFAULTS:
        assert {getattr(config, name) for config in configs} == {getattr(RunConfig("x"), name)}
