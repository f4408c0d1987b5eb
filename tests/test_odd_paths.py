"""Paths that rich would read as markup or pictures, or that are no text, come out as they are."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import sparseagent as sa
from sparseagent.commands import app
from sparseagent.console import open_console
from sparseagent.train.progress import Display

ODD = ("[x]", "[red]a", "[", "]", "[not/closed", ":car:", "a b", "{x}", "%s", "-v0", "ä", "x" * 200)


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_policy(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = sa.Layer(sa.CSR.from_dense(np.ones((2, 4), np.float32)), np.zeros(2, np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((4,))), sa.Argmax())
    policy.with_metadata(environment="CartPole-v1").save(path)


@pytest.mark.parametrize("name", ODD)
def test_odd_paths_come_out_as_they_are(name, tmp_path):
    folder = tmp_path.joinpath(*f"runs/{name}/[b]".split("/"))
    write_policy(folder / "agent.safetensors")
    table = folder / "table.csv"
    done = call(
        *("robustness", folder, "--out", table, "--episodes", 2),
        *("--noise", 0, "--parameter", "pole mass"),
    )
    assert done.exit_code == 0, done.output
    assert f"table: {table}\nplot: {table.with_suffix('.png')}\n" in done.output
    assert call("rollout", folder / "agent.safetensors", "--episodes", 2).exit_code == 0
    assert call("bench", folder / "agent.safetensors", "--calls", 20).exit_code == 0


@pytest.mark.parametrize("name", ["[x]", "[/x]", ":car:", "missing"])
@pytest.mark.parametrize("command", ["rollout", "bench"])
def test_a_path_that_cannot_be_read_is_named(command, name, tmp_path):
    for path in (tmp_path, tmp_path / name, tmp_path / name / "agent.safetensors"):
        done = call(command, path)
        assert done.exit_code == 2, (done.output, done.exception)
        assert str(path) in done.output
        assert "Traceback" not in done.output


def test_progress_prints_text_as_it_is():
    text = "writing runs/[x]/a [/bold] :car:"
    for terminal in (False, True):
        stream = io.StringIO()
        display = Display(Console(file=stream, force_terminal=terminal, width=120))
        display.say(text)
        with display.bar("2/5 [x]", total=10) as bar:
            bar.update(10, "[/x] note")
        for wanted in (text, "2/5 [x]", "[/x] note"):
            assert wanted in stream.getvalue()


def test_a_line_is_as_long_as_it_has_to_be(capsys):
    open_console().print("runs/" + "x" * 300)
    assert capsys.readouterr().out == "runs/" + "x" * 300 + "\n"


@pytest.mark.parametrize("environment", [{}, {"PYTHONIOENCODING": "ascii"}])
def test_a_path_that_is_no_text_ends_in_one_line(environment, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xe4.safetensors"
    done = subprocess.run(
        [sys.executable, "-m", "sparseagent.cli", "rollout", path],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
