"""What happens to a run when things break: kills, damaged files, two processes, a full disk."""

import resource
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from stable_baselines3.common.save_util import load_from_zip_file
from typer.testing import CliRunner

import sparseagent.train.stage as stage_module
from sparseagent.commands import app
from sparseagent.train.records import read_rows

pytestmark = pytest.mark.slow

RUN = [sys.executable, "-m", "sparseagent.cli", "run", "--env", "CartPole-v1", "--net", "8"]
RUN += ["--steps", "512", "--n-envs", "1", "--episodes", "2", "--checkpoint-seconds", "0"]
RUN += ["--set", "n_steps=64", "--set", "batch_size=64", "--set", "n_epochs=2"]


def start(out, *, limit=None):
    """The run as a process; `limit` bounds the size of a file in bytes."""

    def bounded():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    before = {} if limit is None else {"preexec_fn": bounded}
    return subprocess.Popen([*RUN, "--out", str(out)], **pipes, **before)


def finish(process):
    """Exit code and standard error; a traceback is never an answer."""
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return process.returncode, errors


def result(out):
    """What two equal runs have in common: episodes, and the agents without their times."""
    agents = read_rows(out / "agents.csv")
    for row in agents:
        del row["seconds"]
        assert row["resumed"] == "False"
    return read_rows(out / "episodes.csv"), agents, (out / "policy.safetensors").read_bytes()


def again(out, command="run"):
    """Exit code and output of the same command, in this process; any other end fails the test."""
    done = CliRunner().invoke(app, [command, *RUN[4:], "--out", str(out)])
    if not isinstance(done.exception, (SystemExit, type(None))):
        raise done.exception
    return done.exit_code, done.output


def complete(out):
    code, text = again(out)
    assert code == 0, text
    return result(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbs."""
    out = tmp_path_factory.mktemp("whole") / "run"
    complete(out)
    return out


DYING = """
import os, signal, sys
from sparseagent.commands import app
from sparseagent.train.callbacks import Checkpoints

rollout = Checkpoints._on_rollout_start

def save_always(self):
    self._due = 0.0  # small checkpoints of a short training would be made once
    rollout(self)

Checkpoints._on_rollout_start = save_always
moment, name = sys.argv.pop(1).split(" ")
replace = os.replace

def die_around(draft, path):
    hit = str(path).endswith(name)
    if hit and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(draft, path)
    if hit:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = die_around
app()
"""


def kill(out, moment):
    """Run until just `before` or `after` a file gets its name; a real SIGKILL."""
    command = [sys.executable, "-c", DYING, moment, *RUN[3:], "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    return done.stdout


def test_a_run_killed_around_its_checkpoints_ends_as_an_unbroken_one(whole, tmp_path):
    out = tmp_path / "run"
    kill(out, "before checkpoints_pruned/step_000000000192/facts.json")
    text = kill(out, "after checkpoints_pruned/step_000000000384/facts.json")
    assert "resuming pruned (seed 0) at step 128" in text
    text = kill(out, "before state/pruned.done")
    assert "resuming pruned (seed 0) at step 384" in text
    assert complete(out) == result(whole)


def test_two_processes_do_not_share_a_folder(whole, tmp_path):
    out = tmp_path / "run"
    outcomes = [finish(process) for process in [start(out), start(out)]]
    assert sorted(code for code, _ in outcomes) == [0, 2]
    assert any("held by process" in errors for _, errors in outcomes)
    assert result(out) == result(whole)


def test_where_files_cannot_be_written_one_line_says_so_and_the_run_goes_on_later(whole, tmp_path):
    out = tmp_path / "run"
    code, errors = finish(start(out, limit=8_000))
    assert code == 2
    assert "File too large: cannot write" in errors
    assert "give the same command again" in errors
    assert complete(out) == result(whole)


DAMAGES = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": lambda path: path.write_bytes(
        (content := path.read_bytes())[: len(content) // 2]
        + bytes([content[len(content) // 2] ^ 0x41])
        + content[len(content) // 2 + 1 :]
    ),
    "deleted": lambda path: path.unlink(),
}
#: Written anew by every run, from other files of the folder.
REWRITTEN = {"report.md", "learning_curve.csv", "strategy.json"}


def forbidden(*_, **__):
    raise AssertionError("something was unpickled")


def test_a_finished_folder_is_reported_without_unpickling(whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    monkeypatch.setattr(stage_module, "algorithm", forbidden)
    monkeypatch.setattr(stage_module.pickle, "load", forbidden)
    code, text = again(out)
    assert code == 0
    assert "tested already" in text


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_finished_folder(damage, whole, tmp_path, monkeypatch):
    """Every file in turn: the same result, or an error that says what to do."""
    monkeypatch.setattr("sparseagent.train.pipeline.write_report", lambda root: root)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert len(files) > 15
    for name in files:
        if name.suffix == ".png":
            continue  # drawn anew
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        DAMAGES[damage](out / name)
        code, text = again(out)
        if name.suffix == ".done" and damage == "deleted":
            assert code == 0, (name, text)  # the stage is done again, and comes out the same
            assert "tested already" not in text
            assert result(out) == result(whole)
        elif name.as_posix() in REWRITTEN:
            assert code == 0, (name, text)
        else:
            assert code == 2, (name, text)
            assert "error: out: expected" in text, (name, text)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """A run that ended in the training of the pruned agent, with two checkpoints."""
    out = tmp_path_factory.mktemp("unfinished") / "run"
    kill(out, "after checkpoints_pruned/step_000000000256/facts.json")
    return out


def weights_of(out):
    return load_from_zip_file(out / "pruned.zip", device="cpu")[1]["policy"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "deleted"])
def test_a_damaged_file_of_an_unfinished_folder(damage, whole, unfinished, tmp_path):
    """Every file in turn: the pruned agent has the same bits, or an error says what to do."""
    files = [path for path in unfinished.rglob("*") if path.is_file()]
    newest = max(path.parent.name for path in files if path.name == "facts.json")
    names = sorted(path.relative_to(unfinished) for path in files)
    assert sum(name.parent.name == newest for name in names) == 5
    for name in names:
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(unfinished, out)
        DAMAGES[damage](out / name)
        code, text = again(out, "prune")
        refused = {"config.json", "dense.zip", "curve_dense.csv", "dense.done"}
        if name.name in refused and not (damage == "deleted" and name.name == "dense.done"):
            assert code == 2, (name, text)
            assert "error: out: expected" in text, (name, text)
            continue
        assert code == 0, (name, text)
        told = name.parent.name == newest and not (damage == "deleted" and "facts" in name.name)
        assert ("going on from the checkpoint before" in text) == told, (name, text)
        wanted, found = weights_of(whole), weights_of(out)
        assert all(torch.equal(wanted[key], found[key]) for key in wanted), name
