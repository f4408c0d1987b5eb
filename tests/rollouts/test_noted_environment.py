"""A policy file that somebody hands over may not choose a Python module to import."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import sparseagent as sa
from sparseagent.commands import app
from sparseagent.environments import noted_environment
from sparseagent.train.robustness_files import measure_files

BAD = (
    "evilmod:CartPole-v1",
    "CartPole-v1:evilmod",
    ":CartPole-v1",
    "../evilmod",
    "a/b/CartPole-v1",
    "/CartPole-v1",
    "evil mod-v0",
    "CartPole-v1\n",
    "CartPole-v1\x1b[2J",
    7,
    ["CartPole-v1"],
    {"entry_point": "evilmod:make"},
)


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module on the path that says when it is imported, and a policy file that names it."""
    (tmp_path / "evilmod.py").write_text("import builtins\nbuiltins.evil_ran = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("evilmod", None)


def policy_file(path, environment):
    layer = sa.Layer(sa.CSR.from_dense(np.ones((2, 4), np.float32)), np.zeros(2, np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((4,))), sa.Argmax())
    policy.with_metadata(environment=environment).save(path)
    return path


@pytest.mark.parametrize("noted", BAD, ids=repr)
def test_a_file_notes_a_plain_id_or_is_refused(noted):
    with pytest.raises(ValueError, match=r"env: expected agent\.x to note a plain Gymnasium id"):
        noted_environment({"environment": noted}, "agent.x")


@pytest.mark.parametrize(
    "noted",
    [
        "CartPole-v1",
        "MinAtar/Breakout-v1",
        "ALE/Pong-v5",
        "CliffWalking",
        "my.env_2-v10",
        "a-b/C-v0",
    ],
)
def test_plain_ids_pass(noted):
    assert noted_environment({"environment": noted}, "agent.x") == noted


@pytest.mark.parametrize("metadata", [{}, {"environment": ""}, {"environment": None}])
def test_a_file_may_note_none(metadata):
    assert noted_environment(metadata, "agent.x") is None


@pytest.mark.parametrize("wrappers", [["FrameStack", "pkg.Mine"], ["\x1b[2J" * 50] * 99, "x", 7])
def test_a_file_that_names_wrappers_is_not_played_untold(wrappers):
    metadata = {"environment": "CartPole-v1", "wrappers": wrappers}
    with pytest.raises(ValueError, match=r"env: the agent of a\.x was trained with") as caught:
        noted_environment(metadata, "a.x")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200


def test_no_wrappers_are_none():
    assert noted_environment({"environment": "CartPole-v1", "wrappers": []}, "x") == "CartPole-v1"


def test_rollout_and_robustness_ask_before_they_leave_wrappers_out(tmp_path):
    file = policy_file(tmp_path / "agent.safetensors", "CartPole-v1")
    sa.load(file).with_metadata(wrappers=["FrameStackObservation"]).save(file)
    table = str(tmp_path / "a.csv")
    play = ["--episodes", "2", "--num-envs", "2"]
    few = [*play, "--noise", "0.1", "--parameter", "pole mass", "--out", table]
    for command, named in (
        (["rollout", str(file), *play], ["CartPole-v1"]),
        (["robustness", str(file), *few], ["--env", "CartPole-v1"]),
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        text = " ".join(result.output.split())
        assert "agent.safetensors was trained with 'FrameStackObservation' around CartPole" in text
        assert not (tmp_path / "a.csv").exists()
        result = CliRunner().invoke(app, [*command, *named])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("env_id", ["a:b:CartPole-v1", ":CartPole-v1", "a:", ":"])
def test_an_id_has_one_colon_at_most(env_id, tmp_path):
    file = str(policy_file(tmp_path / "agent.safetensors", "CartPole-v1"))
    table = str(tmp_path / "a.csv")
    for command in (
        ["rollout", file, env_id],
        ["robustness", file, "--env", env_id, "--out", table],
        ["run", "--env", env_id, "--out", str(tmp_path / "run")],
        ["search", "--env", env_id, "--out", str(tmp_path / "search")],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        expected = f"env: expected an environment id, or module:id with one colon, got {env_id!r}"
        assert expected in result.output


def test_rollout_imports_no_module_that_a_file_names(evil):
    file = policy_file(evil / "agent.safetensors", "evilmod:CartPole-v1")
    result = CliRunner().invoke(app, ["rollout", str(file), "--episodes", "1"])
    assert "evilmod" not in sys.modules
    assert result.exit_code == 2
    assert "got 'evilmod:CartPole-v1'" in " ".join(result.output.split())


def test_the_command_line_may_name_a_module(evil):
    file = policy_file(evil / "agent.safetensors", "CartPole-v1")
    result = CliRunner().invoke(app, ["rollout", str(file), "evilmod:CartPole-v1"])
    assert result.exit_code == 0, result.output
    assert "evilmod" in sys.modules


def test_robustness_imports_no_module_that_a_file_names(evil):
    files = [policy_file(evil / f"{k}.safetensors", "evilmod:CartPole-v1") for k in range(2)]
    with pytest.raises(ValueError, match="to note a plain Gymnasium id"):
        measure_files(files, evil / "table.csv", episodes=1, noise_levels=(0.1,), parameters=())
    assert "evilmod" not in sys.modules
    assert not (evil / "table.csv").exists()
