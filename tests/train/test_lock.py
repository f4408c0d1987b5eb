"""One process at a time in a run folder."""

import os
import signal
import subprocess
import sys

import pytest

from sparseagent.train.lock import claimed, hold

HOLDER = """
import sys, time
from pathlib import Path
from sparseagent.train.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_process_hears_who_has_the_folder(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        wanted = f"held by process {holder.pid} on .* since 20"
        with pytest.raises(ValueError, match=wanted), hold(folder):
            pass
        with claimed(folder) as ours:
            assert not ours
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "sparseagent.cli",
                "run",
                "--env",
                "CartPole-v1",
                "--out",
                folder,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert f"held by process {holder.pid} on" in done.stderr
        assert "Traceback" not in done.stderr
        holder.send_signal(signal.SIGKILL)
    with hold(folder):  # the dead one holds nothing
        assert not folder.exists()
    assert f"process {os.getpid()} on" in (tmp_path / ".run.lock").read_text()
