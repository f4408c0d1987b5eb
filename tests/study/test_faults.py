"""A study under faults: the table comes out the same, or an error says what to do.

The commands, processes, locks and tables are real; a cell is a short sleep with a known outcome, in
place of a training.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from short_cells import outcome

from sparseagent.study.cells import cells_of
from sparseagent.study.command import open_studies
from sparseagent.study.config import load_study
from sparseagent.study.table import add_row, read_table

SEEDS, CELLS = 3, 12
STUDY = f"""
study: small
seeds: {SEEDS}
episodes: 3
csv: results.csv
runs: runs
report: RESULTS.md
methods:
  dense:
  tiny: {{sparsity: 0.9}}
  gmp: {{sparsity: [0.9, 0.95]}}
environments:
  - env: CartPole-v1
    algos: ppo
"""
# The processes of the command import this file too.
COMMAND = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})

import short_cells
from sparseagent.cli import main
from sparseagent.study import command, execute

execute.execute = short_cells.execute
command._check_environments = lambda opened: None

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.yaml").write_text(STUDY)
    (tmp_path / "command.py").write_text(COMMAND)
    return tmp_path


@pytest.fixture
def expected(folder, tmp_path_factory):
    """The table of a study that nothing disturbs."""
    table = tmp_path_factory.mktemp("undisturbed") / "results.csv"
    for cell in cells_of(load_study(folder / "small.yaml")):
        add_row(table, outcome(cell))
    assert len(read_table(table)) == CELLS
    return table.read_text()


def start(folder, *options, processes=2, limit=None, **environment):
    def limited():
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a full disk is an error, no signal
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    arguments = ["study", "small.yaml", "--processes", str(processes), *options]
    return subprocess.Popen(
        [sys.executable, "command.py", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,  # noqa: PLW1509  # this process has no threads
    )


def finish(command):
    out, err = command.communicate(timeout=120)
    return subprocess.CompletedProcess(command.args, command.returncode, out, err)


def attempts(folder):
    """Process and cell of each attempt so far."""
    file = folder / "attempts.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.split(" ", 1) for line in lines if " " in line]


def row_with(table, part):
    """The one line of a table that holds `part`."""
    (line,) = [line for line in table.splitlines() if part in line]
    return line


def wait_for(folder, count):
    deadline = time.monotonic() + 60
    while len(attempts(folder)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("seed", [0])
def test_a_killed_worker_costs_nothing(seed, folder, expected):
    rng = random.Random(seed)
    command = start(folder)
    wait_for(folder, rng.randint(2, CELLS - 3))
    time.sleep(rng.uniform(0, 0.15))
    os.kill(int(attempts(folder)[-1][0]), signal.SIGKILL)
    done = finish(command)
    assert done.returncode == 0, done.stderr
    assert (folder / "results.csv").read_text() == expected
    assert f"{CELLS} of {CELLS} cells" in done.stdout
    assert (folder / "RESULTS.md").exists()


def test_a_cell_that_kills_its_workers_is_reported_and_the_others_are_done(folder, expected):
    deadly = "gmp 0.95 seed 1"
    done = finish(start(folder, DEADLY_CELL=deadly))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: 1 cell without a row: CartPole-v1 ppo {deadly}: its process was"
    )
    assert "killed (signal 9, Killed) 2 times" in line
    assert "error.txt" in line
    assert "Give the same command again" in line
    assert [cell for _, cell in attempts(folder)].count(f"CartPole-v1 ppo {deadly}") == 2
    assert f"{CELLS - 1} of {CELLS} planned runs" in (folder / "RESULTS.md").read_text()
    rows = (folder / "results.csv").read_text().splitlines()
    assert set(expected.splitlines()) - set(rows) == {row_with(expected, "gmp,0.95,1")}


@pytest.mark.parametrize("seed", [0])
def test_a_killed_command_goes_on(seed, folder, expected):
    rng = random.Random(seed)
    command = start(folder)
    wait_for(folder, rng.randint(2, CELLS - 3))
    time.sleep(rng.uniform(0, 0.15))
    command.kill()
    finish(command)
    before = read_table(folder / "results.csv")
    assert len(before) < CELLS
    done = finish(start(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "results.csv").read_text() == expected
    # Only what the first command was at is done twice.
    assert len(attempts(folder)) <= CELLS + 2


def test_two_commands_share_a_study(folder, expected):
    commands = [start(folder), start(folder)]
    for done in map(finish, commands):
        # The first to be ready may leave the last cells to the other, and says so.
        assert done.returncode == 0 or "another command trains it" in done.stderr, done.stderr
    assert (folder / "results.csv").read_text() == expected
    assert len(attempts(folder)) == CELLS


def test_a_full_disk_is_named_and_nothing_is_lost(folder, expected):
    # Room for the header and about four rows.
    done = finish(start(folder, limit=len(expected) // 2))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "results.csv" in done.stderr
    assert "give the same command again" in done.stderr
    before = read_table(folder / "results.csv")
    assert 0 < len(before) < CELLS
    assert not list(folder.glob("results.csv.*.part"))
    # What is there is whole, and the same command goes on from it: see the killed command.
    lines = (folder / "results.csv").read_text().splitlines()
    assert set(lines) <= set(expected.splitlines())


def open_with(folder, table: bytes, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "results.csv").write_bytes(table)
    return open_studies([Path("small.yaml")])


def test_a_table_cut_anywhere_is_whole_or_refused(folder, expected, monkeypatch):
    data = expected.encode()
    ends = {k + 1 for k, byte in enumerate(data) if byte == ord("\n")}
    for cut in range(0, len(data), 7):
        if cut in ends:
            continue
        with pytest.raises(ValueError, match=r"table: expected .*results\.csv.*restore"):
            open_with(folder, data[:cut], monkeypatch)
    for cut in ends - {min(ends)}:  # a row less is trained again
        open_with(folder, data[:cut], monkeypatch)


def test_a_changed_byte_is_refused_or_changes_one_value(folder, expected, monkeypatch):
    """No file of text can tell one digit from another; all that does not fit is refused."""
    rng, data = random.Random(3), expected.encode()
    known = [value for line in expected.splitlines()[1:] for value in line.split(",")]
    refused: list[str] = []
    for _ in range(400):
        place, bit = rng.randrange(len(data)), rng.randrange(8)
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        try:
            open_with(folder, bytes(damaged), monkeypatch)
        except ValueError as error:
            refused.append(str(error))
            continue
        found = [value for row in read_table(Path("results.csv")) for value in row.values()]
        pairs = zip(found, known, strict=True)
        assert sum(value != before for value, before in pairs) <= 1
    assert all("results.csv" in message for message in refused)
    assert len(refused) > 200
