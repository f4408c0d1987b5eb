"""Some thousand seeded cases at every border, and what was found before. `make fuzz` goes on."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = {"policy": 4000, "core": 1500, "zip": 800}
NEEDS = {"zip": "stable_baselines3"}
HERE = Path(__file__).parent
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")


def fuzz(tmp_path: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "fuzz.py", *arguments, "--finds", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


@pytest.mark.parametrize("target", CASES)
def test_seeded_cases(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(NEEDS.get(target, "numpy")) is None:
        pytest.skip(f"needs {NEEDS[target]}")
    fuzz(tmp_path, target, "--seed", "1", "--cases", str(CASES[target]))


@pytest.mark.parametrize("target", ["policy", "zip"])
def test_finds_of_before(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(NEEDS.get(target, "numpy")) is None:
        pytest.skip(f"needs {NEEDS[target]}")
    fuzz(tmp_path, target, "--replay")


TOY = """
import os, time

class Target:
    def case(self, rng):
        return bytes(str(int(rng.integers(10))), "ascii")

    def check(self, content):
        if content in wrong:
            {how}
        return content > b"4"

    def memory(self, content):
        return 1 << 26

wrong = {wrong}
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise KeyError", "KeyError"),
        ("os.abort()", "killed by SIGABRT"),
        ("import ctypes; ctypes.string_at(8)", "exit code 1" if SANITIZED else "killed by SIGSEGV"),
        ("bytearray(1 << 30)", "MemoryError"),
        ("import fuzz, signal; signal.alarm(1); time.sleep(30)", "no end after 10 s"),
    ],
)
def test_what_goes_wrong_is_found_and_the_rest_goes_on(
    how: str, message: str, tmp_path: Path
) -> None:
    """The finder can fail: each kind of a wrong end is told, kept, and counted once."""
    if SANITIZED and message == "MemoryError":
        pytest.skip("sanitizers have no limit of memory")
    (tmp_path / "core_target.py").write_text(TOY.format(how=how, wrong={b"7"}))
    command = (
        "import sys; sys.path[:0] = sys.argv[-2:]; import fuzz; exit(fuzz.main(sys.argv[1:-2]))"
    )
    options = ["core", "--seed", "1", "--cases", "30", "--finds", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", command, *options, str(tmp_path), str(HERE)],
        check=False,
        capture_output=True,
        text=True,
    )
    kept = list((tmp_path / "core-1").iterdir())
    assert done.returncode == 1
    assert message in done.stderr
    assert kept
    assert all(path.read_bytes() == b"7" for path in kept)
    assert "30 cases in" in done.stdout
    assert f"{len(kept)} wrong" in done.stdout
