"""Every method trains an agent with the weights it promises, tested as it is deployed."""

from __future__ import annotations

import pickle

import pytest
from rich.console import Console

import sparseagent as sa
from sparseagent.study.cells import cells_of
from sparseagent.study.config import parse_study
from sparseagent.study.execute import execute
from sparseagent.study.method import METHODS, tiny_latency
from sparseagent.study.table import COLUMNS
from sparseagent.train.progress import Display

FULL = 4 * 64 + 64 * 64 + 64 * 2
SHORT = {
    "total_timesteps": 512,
    "prune_start": 0.1,
    "prune_stop": 0.6,
    "hyperparameters": {"n_epochs": 2, "n_steps": 16, "batch_size": 64},
}


@pytest.fixture
def cell_of(content, in_tmp):
    def make(name, env="CartPole-v1", algo="ppo", settings=SHORT):
        content["methods"] = {name: {"sparsity": 0.9} if METHODS[name].has_sparsity else None}
        content["environments"] = [{"env": env, "algos": algo, "settings": settings}]
        return cells_of(parse_study(content))[0]

    return make


def _execute(cell):
    return execute(cell, Display(Console(quiet=True)))


@pytest.mark.slow
# The ramp of gmp_inputs_warmup waits for more episodes than a short training has.
@pytest.mark.parametrize("name", [name for name in METHODS if name != "gmp_inputs_warmup"])
def test_a_method_keeps_its_promise(name, cell_of, monkeypatch):
    monkeypatch.setattr(tiny_latency, "WIDTHS", {("CartPole-v1", 0.9): 12})
    cell = cell_of(name)
    row = _execute(cell)
    assert set(row) == set(COLUMNS)
    assert (row["full"], row["different_actions"]) == (FULL, 0)
    critic = dict.fromkeys(("gmp_critic", "gmp_inputs", "gmp_drift", "gmp_inputs_regrow"), 0.9)
    critic["anf"] = 230 / (4 * 64 + 64 * 64 + 64)  # of its input layer alone
    assert row["critic_sparsity"] == pytest.approx(critic.get(name, 0.0), abs=1e-3)
    assert 0 < row["effective"] <= row["kept"]
    if METHODS[name].must_reach:
        assert row["kept"] <= round(0.1 * FULL)
    assert row["steps"] == (6 if name == "lottery" else 1) * 512
    policy = sa.load(cell.folder / "policy.safetensors")
    again = sa.rollout(sa.compile(policy), "CartPole-v1", episodes=3, num_envs=3, seed=1_000_003)
    assert round(again.mean, 4) == row["mean"]
    # A second call finds the agent trained: the test alone is done again.
    assert {**_execute(cell), "latency_p50_ns": 0} == {**row, "latency_p50_ns": 0}


@pytest.mark.slow
def test_critics_are_pruned_where_the_algorithm_bears_it(cell_of):
    settings = {
        "total_timesteps": 260,
        "net_arch": [32, 32],
        "hyperparameters": {"learning_starts": 50, "batch_size": 16},
    }
    row = _execute(cell_of("gmp", "Pendulum-v1", "sac", settings))
    full = 3 * 32 + 32 * 32 + 32 * 1
    assert (row["full"], row["kept"]) == (full, round(0.1 * full))
    assert row["critic_sparsity"] == pytest.approx(0.8, abs=0.001)


@pytest.mark.slow
def test_an_agent_above_its_budget_is_an_error(cell_of, monkeypatch):
    cell = cell_of("gmp")
    dense = METHODS["dense"]
    monkeypatch.setattr(type(cell.method), "train", lambda self, job: dense.train(job))
    with pytest.raises(RuntimeError, match="expected 448 weights at most, got 4480 of 4480"):
        _execute(cell)


def test_methods_travel_to_other_processes() -> None:
    for name, method in METHODS.items():
        assert pickle.loads(pickle.dumps(method)).name == name
