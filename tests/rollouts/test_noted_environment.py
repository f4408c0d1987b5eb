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
    policy = sa.SparsePolicy((layer,), sa.Observation((4,)), sa.Argmax())
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
