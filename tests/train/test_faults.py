"""What happens to a run when things break: kills, damaged files, two processes, a full disk."""

import random
import resource
import signal
import subprocess
import sys
import time

import pytest

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
