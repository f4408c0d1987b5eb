"""Which inputs agents use, over seeds: names, shares, the table, the command and its refusals."""

import csv

import gymnasium
import numpy as np
import pytest
from typer.testing import CliRunner

import sparseagent as sa
from sparseagent.commands import app
from sparseagent.csr import CSR
from sparseagent.environments import observation_names, register_environment
from sparseagent.ops import Layer, Observation
from sparseagent.report import input_bars
from sparseagent.train.input_report import agent_inputs

NOISE = "sparseagent/CartPole-Noise3-v1"


def _save(path, weight, seed=0, agent="pruned", env=NOISE):
    weight = np.array(weight, np.float32)
    bias = np.zeros(len(weight), np.float32)
    program = sa.chain([Layer(CSR.from_dense(weight), bias)], Observation((weight.shape[1],)))
    facts = {"agent": agent, "training_seed": seed}
    facts |= {"environment": env} if env else {}
    sa.SparsePolicy(program, metadata=facts).save(path)
    return path


@pytest.fixture
def files(tmp_path):
    # Of seven inputs the second has 9/10 and 4/5 of the squares, the others are used once each.
    one, two = np.zeros((2, 7)), np.zeros((2, 7))
    one[0, 1], one[1, 4] = 3.0, 1.0
    two[0, 1], two[1, 6] = 2.0, 1.0
    return [_save(tmp_path / f"{s}.safetensors", w, seed=s) for s, w in enumerate((one, two))]


def _made(env):
    register_environment(env)
    return gymnasium.make(env)


def test_names_of_what_is_added_stand_where_it_is():
    env = _made(NOISE)
    names = observation_names(env)
    real = env.get_wrapper_attr("real")
    assert [names[place] for place in real] == ["real 0", "real 1", "real 2", "real 3"]
    assert sorted(set(names) - {names[p] for p in real}) == ["noise 0", "noise 1", "noise 2"]
    env.reset(seed=0)
    foreign = observation_names(_made("sparseagent/CartPole-Foreign2-v1"))
    assert {"machine 0, 0", "machine 1, 3", "real 2"} < set(foreign)
    assert len(foreign) == 12


def test_names_of_mujoco_and_of_an_environment_that_gives_its_own():
    pytest.importorskip("mujoco")
    names = observation_names(_made("sparseagent/Hopper-Noise2-v5"))
    assert {"qpos 0", "qpos 4", "qvel 5", "noise 1"} < set(names)
    assert len(names) == 13
    assert observation_names(_made("CartPole-v1")) is None

    class Named(gymnasium.Wrapper):
        observation_names = ("cart", "speed", "pole", "turning")

    env = Named(_made("CartPole-v1"))
    assert observation_names(env) == ("cart", "speed", "pole", "turning")
    assert observation_names(gymnasium.wrappers.TimeAwareObservation(_made("CartPole-v1"))) is None
    with pytest.raises(ValueError, match="observation_names: expected one for each of the 5"):
        observation_names(gymnasium.wrappers.TimeAwareObservation(env))


def test_shares_over_seeds_by_hand(files):
    (agent,) = agent_inputs(files)
    assert agent.share[:, [1, 4, 6]].tolist() == [[0.9, 0.1, 0.0], [0.8, 0.0, 0.2]]
    assert agent.used_by.tolist() == [0, 2, 0, 0, 1, 0, 1]
    assert agent.order[:3].tolist() == [1, 6, 4]
    assert agent.headline == ("pruned: uses 2 of 7 inputs over 2 seeds; 1 in all seeds, 4 in none")
    names = observation_names(_made(NOISE))
    _, rows = agent.table(2)
    assert rows == [[names[1], "85 %", "1.0", "2 of 2"], [names[6], "10 %", "0.5", "1 of 2"]]


def test_the_command_prints_writes_and_draws(files, tmp_path):
    table, plot = tmp_path / "inputs.csv", tmp_path / "inputs.png"
    told = CliRunner().invoke(
        app, ["inputs", *map(str, files), "--out", str(table), "--plot", str(plot)]
    )
    assert told.exit_code == 0, told.output
    assert "uses 2 of 7 inputs over 2 seeds" in told.output
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 14
    assert [row["share"] for row in rows if row["place"] == "1"] == ["0.9", "0.8"]
    assert plot.stat().st_size > 10_000


def test_several_agents_have_a_table_each_but_no_plot(files, tmp_path):
    _save(tmp_path / "other.safetensors", np.eye(7), agent="dense", env="")
    told = CliRunner().invoke(app, ["inputs", str(tmp_path)])
    assert told.exit_code == 0
    assert "dense: uses 7 of 7 inputs" in told.output
    told = CliRunner().invoke(app, ["inputs", str(tmp_path), "--plot", str(tmp_path / "p.png")])
    assert told.exit_code == 2
    assert (
        "plot: expected the files of one agent, got pruned, dense" in told.output.replace("\n", " ")
        or "plot: expected the files of one agent" in told.output
    )


def test_names_must_fit_and_numbers_stand_where_there_are_none(files, tmp_path):
    with pytest.raises(ValueError, match="env: expected an environment with the 7 inputs"):
        agent_inputs(files, env="sparseagent/CartPole-Noise4-v1")
    plain = _save(tmp_path / "plain.safetensors", np.eye(7), env="NoSuch-v0")
    (agent,) = agent_inputs([plain])
    assert agent.names == tuple("0123456")
    with pytest.raises(gymnasium.error.Error):
        agent_inputs([plain], env="NoSuch-v0")


def test_seeds_of_other_sizes_are_refused(files, tmp_path):
    files.append(_save(tmp_path / "9.safetensors", np.eye(9), seed=9))
    with pytest.raises(ValueError, match="policy: expected the seeds of pruned to read the same"):
        agent_inputs(files)


def test_bars_refuse_what_is_no_share(tmp_path):
    with pytest.raises(ValueError, match=r"shares must have shape \[seeds, 2\]"):
        input_bars(["a", "b"], [0.5, 0.5], tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"shares must lie in \[0, 1\]"):
        input_bars(["a", "b"], [[0.5, float("nan")]], tmp_path / "p.png")
