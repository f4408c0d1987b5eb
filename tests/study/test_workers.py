"""Tasks in processes that are killed, raise, or lose their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from sparseagent.study.workers import Killed, in_processes


def square(task):
    return task * task


def mark(folder: Path, task: str) -> int:
    """Leave a trace of each attempt; how many there are now."""
    with (folder / task).open("a") as stream:
        stream.write("x")
    return (folder / task).stat().st_size


def deadly(folder, task):
    """The task says how many processes it kills, and how."""
    attempt = mark(folder, task)
    name, kills = task.split("-")
    if attempt <= int(kills):
        os.kill(os.getpid(), signal.SIGKILL if name == "kill" else signal.SIGSEGV)
    return attempt


def raising(task):
    if task == 3:
        raise ValueError("table: damaged")
    time.sleep(0.05)
    return task


class UnsendableError(Exception):
    def __reduce__(self):
        raise TypeError("cannot travel")


def raising_what_cannot_travel(task):
    raise UnsendableError("lost on the way")


class Mine:
    """A task that ends the process which receives it."""

    def __reduce__(self):
        return os._exit, (7,)


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_every_task_is_done_once(processes):
    assert sorted(in_processes(range(9), square, processes)) == [(k, k * k) for k in range(9)]
    assert list(in_processes([], square, processes)) == []


def test_tasks_of_killed_processes_are_done_by_others(tmp_path):
    tasks = ["kill-0", "kill-1", "segv-1", "kill-9", "segv-0"]
    outcomes = list(in_processes(tasks, partial(deadly, tmp_path), 2))
    results = {task: found for task, found in outcomes if not isinstance(found, Killed)}
    assert results == {"kill-0": 1, "segv-0": 1, "kill-1": 2, "segv-1": 2}
    kills = [
        (task, found.exit_code, found.again) for task, found in outcomes if task not in results
    ]
    assert kills == [("kill-9", -signal.SIGKILL, True), ("kill-9", -signal.SIGKILL, False)]
    again = {task for task, found in outcomes if isinstance(found, Killed) and found.again}
    assert again == {"kill-1", "segv-1", "kill-9"}
    assert (tmp_path / "kill-9").read_text() == "xx"


def test_a_process_that_dies_of_its_task_before_it_begins():
    outcomes = [found for _, found in in_processes([Mine()], square, 2)]
    assert outcomes == [Killed(7, again=True), Killed(7, again=False)]
    assert str(outcomes[0]) == "its process ended with exit code 7"
    assert str(Killed(-9, again=True)) == "its process was killed (signal 9, Killed)"


def test_what_a_task_raises_ends_all():
    with pytest.raises(ValueError, match="table: damaged"):
        list(in_processes(range(100), raising, 2))
    with pytest.raises(RuntimeError, match="UnsendableError: lost on the way"):
        list(in_processes([1], raising_what_cannot_travel, 1))


PARENT = """
import os, sys, time
from pathlib import Path
from sparseagent.study.workers import in_processes

def wait(task):
    Path(f"{task}.pid").write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(in_processes([1, 2], wait, 2))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_their_parent(number, tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    files = [tmp_path / f"{task}.pid" for task in (1, 2)]
    _until(lambda: all(file.exists() and file.read_text() for file in files))
    children = [int(file.read_text()) for file in files]
    parent.send_signal(number)
    parent.wait(30)
    _until(lambda: not any(_alive(child) for child in children))


def _alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
