"""What an exported file promises besides its bits: how it compiles, and what it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from networks import random_policy
from samples import NAMES, sample
from targets import STRICT, Exported, Target, has_fma

import sparseagent as sa
from sparseagent.export import c_source, export_c

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
# A norm, so that there is a square root.
PROGRAM, GIVEN = sample("several_inputs", 50)


def gcc(folder: Path, *flags: str, source: str = "tried.c") -> subprocess.CompletedProcess[str]:
    command = ["gcc", *flags, source, "-o", "made"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export_c(PROGRAM, tmp_path / "tried.c")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", ["-O3", "-Os"])
def test_it_needs_nothing_and_holds_no_state(name: str, level: str, tmp_path: Path) -> None:
    """No undefined symbol, no variable; every name begins with the policy's."""
    policy, _ = sample(name, 1)
    export_c(policy, tmp_path / "tried.c")
    made = gcc(tmp_path, *STRICT, level, "-c")
    assert made.returncode == 0, made.stderr
    table = subprocess.run(["nm", tmp_path / "made"], capture_output=True, text=True, check=True)
    symbols = [line.split()[-2:] for line in table.stdout.splitlines()]
    assert not [name for kind, name in symbols if kind not in "tTrR"]
    assert sorted(name for kind, name in symbols if kind == "T") == [
        "tried_act",
        "tried_forward",
        *(["tried_sample"] if policy.head.samples else []),
    ]
    assert all(name.startswith(("tried_", ".")) for _, name in symbols)


@pytest.mark.parametrize("body", [1, 2, 3])
def test_no_body_of_the_fused_multiply_add_is_ever_wrong(exported: Path, body: int) -> None:
    """The naive one, in double, is wrong in some of a hundred of these cases."""
    if body == 1 and not has_fma():
        pytest.skip("needs the instruction")
    flags = ["-O2", f"-DTRIED_FMA={body}", *(["-mfma"] if body == 1 else []), f"-I{exported}"]
    source = str(Path(__file__).with_name("provoke.c"))
    made = gcc(exported, *flags, source, "-lm", source="-xnone")
    assert made.returncode == 0, made.stderr
    said = subprocess.run([exported / "made"], capture_output=True, text=True, check=True)
    wrong, naive, roots = map(int, said.stdout.split())
    assert wrong == 0
    assert roots == 0
    assert naive > 10_000


@pytest.mark.skipif(not has_fma(), reason="needs the instruction")
def test_no_compiler_fuses_what_the_source_does_not(tmp_path: Path) -> None:
    """GNU C does so by default: a head that stretches is `low + 0.5 (a + 1) (high - low)`."""
    policy, given = sample("tanh_unscaled", 500)
    exported = Exported(policy, c_source(policy, "tried"), tmp_path)
    for level in ("-O2", "-O3"):
        target = Target("gnu", "gcc", ("-std=gnu99", "-mfma", level))
        actions = exported.run(target, given).actions
        wanted, _ = sa.compile(policy, tune=0).predict(given)
        known = ~np.isnan(wanted)
        assert actions[known].tobytes() == wanted[known].tobytes(), level


@pytest.mark.parametrize(
    "flag", ["-ffast-math", "-ffinite-math-only", "-funsafe-math-optimizations"]
)
def test_flags_that_change_the_bits_are_refused(exported: Path, flag: str) -> None:
    made = gcc(exported, "-c", flag)
    assert made.returncode != 0
    assert "-ffast-math and its parts change the result" in made.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_self_test_passes(name: str, tmp_path: Path) -> None:
    policy, _ = sample(name, 1)
    export_c(policy, tmp_path / "tried.c")
    made = gcc(tmp_path, *STRICT, "-O1", "-DTRIED_SELFTEST")
    assert made.returncode == 0, made.stderr
    assert subprocess.run([tmp_path / "made"], check=False).returncode == 0


def test_the_self_test_finds_a_changed_bias(tmp_path: Path) -> None:
    """And takes the golden observations of the file, the first of which has number 1."""
    policy = random_policy(np.random.default_rng(0), (5, 9, 2), 0.5, "tanh")
    policy = policy.with_golden(np.ones((3, 5), np.float32))
    export_c(policy, tmp_path / "tried.c")
    text = (tmp_path / "tried.c").read_text()
    assert "for (n = 0; n < 3; ++n)" in text
    *_, bias = re.finditer(r"tried_bias\d+\[\d+\] = \{\n  (\S+),", text)  # of the last layer
    changed = text[: bias.start(1)] + "0x1.8p1f" + text[bias.end(1) :]
    (tmp_path / "tried.c").write_text(changed)
    gcc(tmp_path, "-DTRIED_SELFTEST")
    assert subprocess.run([tmp_path / "made"], check=False).returncode == 1


def test_two_policies_live_in_one_program_of_c_plus_plus(tmp_path: Path) -> None:
    for number, name in enumerate(("left", "right")):
        policy = random_policy(np.random.default_rng(number), (4, 8, 2), 0.5)
        export_c(policy, tmp_path / f"{name}.c")
        subprocess.run(["gcc", "-c", f"{name}.c"], cwd=tmp_path, check=True)
    (tmp_path / "both.cpp").write_text(
        '#include "left.h"\n#include "right.h"\n'
        "int main() {\n  float x[LEFT_IN_OBSERVATION] = {};\n"
        "  float y[LEFT_OUT_ACTION], z[RIGHT_OUT_ACTION];\n"
        "  left_forward(x, y);\n  right_forward(x, z);\n  return y[0] == z[0];\n}\n"
    )
    command = ["g++", "both.cpp", "left.o", "right.o", "-o", "both"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "both"], check=False).returncode == 0
