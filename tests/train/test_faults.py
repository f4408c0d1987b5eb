"""What happens to a run when things break: kills, damaged files, two processes, a full disk."""

import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbs, and how long it took."""
    out = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    code, errors = finish(start(out))
    assert code == 0, errors
    return out, time.monotonic() - began


def test_a_run_killed_at_random_ends_as_an_unbroken_one(whole, tmp_path):
    unbroken, seconds = whole
    out = tmp_path / "run"
    draw = random.Random(0)
    for _ in range(3):
        process = start(out)
        time.sleep(draw.uniform(0.5, 0.95) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, errors = finish(start(out))
    assert code == 0, errors
    assert result(out) == result(unbroken)


def test_two_processes_do_not_share_a_folder(whole, tmp_path):
    out = tmp_path / "run"
    outcomes = [finish(process) for process in [start(out), start(out)]]
    assert sorted(code for code, _ in outcomes) == [0, 2]
    assert any("held by process" in errors for _, errors in outcomes)
    assert result(out) == result(whole[0])


def test_where_files_cannot_be_written_one_line_says_so_and_the_run_goes_on_later(whole, tmp_path):
    out = tmp_path / "run"
    code, errors = finish(start(out, limit=8_000))
    assert code == 2
    assert "File too large: cannot write" in errors
    assert "give the same command again" in errors
    code, errors = finish(start(out))
    assert code == 0, errors
    assert result(out) == result(whole[0])


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


def again(out):
    """Exit code and output of the same command, in this process; any other end fails the test."""
    done = CliRunner().invoke(app, [*RUN[3:], "--out", str(out)])
    if not isinstance(done.exception, (SystemExit, type(None))):
        raise done.exception
    return done.exit_code, done.output


def forbidden(*_, **__):
    raise AssertionError("something was unpickled")


def test_a_finished_folder_is_reported_without_unpickling(whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    monkeypatch.setattr(stage_module, "algorithm", forbidden)
    monkeypatch.setattr(stage_module.pickle, "load", forbidden)
    code, text = again(out)
    assert code == 0
    assert "tested already" in text


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_finished_folder(damage, whole, tmp_path, monkeypatch):
    """Every file in turn: the same result, or an error that says what to do."""
    monkeypatch.setattr("sparseagent.train.pipeline.write_report", lambda root: root)
    files = sorted(path.relative_to(whole[0]) for path in whole[0].rglob("*") if path.is_file())
    assert len(files) > 15
    for name in files:
        if name.suffix == ".png" or (damage == "deleted" and name.suffix == ".done"):
            continue  # drawn anew; a stage without its marker is trained anew, which is slow
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole[0], out)
        DAMAGES[damage](out / name)
        code, text = again(out)
        if name.as_posix() in REWRITTEN:
            assert code == 0, (name, text)
        else:
            assert code == 2, (name, text)
            assert "error: out: expected" in text, (name, text)
