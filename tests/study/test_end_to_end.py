"""A real study of a few hundred steps, killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import sparseagent as sa
from sparseagent.study.config import load_study
from sparseagent.study.table import read_table

FILE = """
study: small
seeds: 1
episodes: 4
csv: results.csv
runs: runs
report: RESULTS.md
methods:
  dense:
  tiny: {sparsity: 0.9}
  gmp: {sparsity: 0.9}
environments:
  - env: CartPole-v1
    algos: ppo
    settings: {total_timesteps: 1024, checkpoint_seconds: 0.0}
"""


def _command(folder, *options):
    arguments = [sys.executable, "-m", "sparseagent.cli", "study", "small.yaml", *options]
    return {
        "args": arguments,
        "cwd": folder,
        "env": os.environ | {"OMP_NUM_THREADS": "1"},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


@pytest.mark.slow
def test_a_killed_study_goes_on(tmp_path):
    (tmp_path / "small.yaml").write_text(FILE)
    table = tmp_path / "results.csv"
    first = subprocess.Popen(**_command(tmp_path))
    deadline = time.monotonic() + 300
    while not table.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = read_table(table)
    assert before, "the first cell never finished"

    second = subprocess.run(**_command(tmp_path, "--processes", "2"), check=False)
    assert second.returncode == 0, second.stdout
    rows = {row["method"]: row for row in read_table(table)}
    assert set(rows) == {"dense", "tiny", "gmp"}
    for row in before:  # the very same rows: nothing was run again
        assert rows[row["method"]] == row
        assert f"{row['method']} seed" not in second.stdout
    assert (int(rows["dense"]["kept"]), int(rows["gmp"]["kept"])) == (4480, 448)
    assert int(rows["tiny"]["kept"]) == 4 * 18 + 18 * 18 + 18 * 2
    assert rows["gmp"]["critic_sparsity"] == "0.0"
    assert {row["steps"] for row in rows.values()} == {"1024"}
    assert {row["different_actions"] for row in rows.values()} == {"0"}

    policy = sa.load(tmp_path / "runs/small/CartPole-v1/ppo/gmp/0.9/seed_0/policy.safetensors")
    assert int(rows["gmp"]["effective"]) <= policy.nnz <= 448  # neurons without effect are gone
    assert policy.metadata["agent"] == "gmp 0.9"
    events = tmp_path / "runs/small/CartPole-v1/ppo/gmp/0.9/seed_0/tensorboard"
    assert any(events.iterdir())
    assert "3 of 3 planned runs" in (tmp_path / "RESULTS.md").read_text()

    (tmp_path / "RESULTS.md").unlink()
    third = subprocess.run(**_command(tmp_path, "--report"), check=False)
    assert "3 of 3 cells" in third.stdout
    assert (tmp_path / "RESULTS.md").exists()


def test_a_wrong_file_is_answered_in_one_line(tmp_path):
    (tmp_path / "small.yaml").write_text(FILE.replace("gmp:", "gmpp:"))
    done = subprocess.run(**_command(tmp_path), check=False)
    assert done.returncode == 2
    assert "error: methods: expected keys among" in done.stdout
    assert "Traceback" not in done.stdout
    with pytest.raises(ValueError, match="gmpp"):
        load_study(tmp_path / "small.yaml")
