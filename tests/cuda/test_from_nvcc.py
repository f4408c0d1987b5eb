"""What nvcc makes of the kernels: its PTX, run on the CPU, and what ptxas says of registers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import builds
import pytest
from ptx_to_cpp import RefusedError, entries, translated

pytestmark = pytest.mark.skipif(builds.COMPILER is None, reason="needs a C++ compiler")

#: Registers of a thread, by the observations of a lane. More than 128 spill: two blocks of 256
#: threads share 65,536.
MOST_REGISTERS = {1: 80, 2: 96, 4: 128}
ARCHITECTURES = (80, 86, 89, 90, 100)


def program_of(ptx: str, csrc: Path, folder: Path, objects: list[Path]) -> Path:
    """The program `cases` over kernels from PTX."""
    (folder / "from_ptx.cpp").write_text(translated(ptx))
    flags = ["-DSPARSEAGENT_FROM_PTX", f"-I{csrc}", "-w", "-fno-strict-aliasing"]
    made = builds.compiled(folder, [folder / "from_ptx.cpp", "tests/cuda/cases.cpp"], *flags)
    others = [path for path in objects if path.name != "plan.o"]
    return builds.linked(folder / "cases", [*made, *others])


def outcome(program: Path, cases: list[Path]) -> tuple[int, str]:
    done = subprocess.run(
        [program, "fibers", *cases], capture_output=True, text=True, check=False, timeout=1500
    )
    return done.returncode, done.stdout


def test_the_ptx_has_the_bits_of_the_reference(
    nvcc: Path, cases: dict[str, Path], host_objects: list[Path], tmp_path: Path
) -> None:
    csrc = builds.ROOT / "csrc"
    ptx = builds.ptx(tmp_path, csrc, *builds.contract_flags())
    assert len(entries(ptx)) == 8
    program = program_of(ptx, csrc, tmp_path, host_objects)
    some = [path for name, path in cases.items() if name not in ("wide", "simba")]
    code, text = outcome(program, [*some[:12:2], *some[12:]])
    assert code == 0, text


@pytest.mark.parametrize("last", [True, False])
def test_the_flags_of_the_build_stand_against_fast_math(
    nvcc: Path, tmp_path: Path, last: bool
) -> None:
    csrc = builds.with_faults(tmp_path, "net.h", "kThreads = 256", "kThreads = 256")
    builds.few_kernels(csrc, "X(1, 4, true)")
    flags = [*builds.contract_flags(), "--use_fast_math"]
    ptx = builds.ptx(tmp_path, csrc, *(flags if last else reversed(flags)))
    assert [entry.count > 1000 for entry in entries(ptx)] == [True]


def test_fast_math_is_refused(nvcc: Path, tmp_path: Path) -> None:
    csrc = builds.with_faults(tmp_path, "net.h", "kThreads = 256", "kThreads = 256")
    builds.few_kernels(csrc, "X(1, 4, true)")
    ptx = builds.ptx(tmp_path, csrc, "--use_fast_math")
    with pytest.raises(RefusedError, match="not exact"):
        entries(ptx)


PLAIN = {
    # Left to nvcc, which leaves the sum to ptxas.
    "contracted": "low + share * __fsub_rn(high, low)",
    # Left to ptxas.
    "may be contracted": "__fadd_rn(low, __fmul_rn(share, high - low))",
}


@pytest.mark.parametrize("fault", PLAIN)
def test_arithmetic_without_its_rounding_is_caught(
    fault: str, nvcc: Path, cases: dict[str, Path], host_objects: list[Path], tmp_path: Path
) -> None:
    exact = "__fadd_rn(low, __fmul_rn(share, __fsub_rn(high, low)))"
    csrc = builds.with_faults(tmp_path, "head.h", exact, PLAIN[fault])
    builds.few_kernels(csrc, "X(1, 4, false)")
    ptx = builds.ptx(tmp_path, csrc)
    with pytest.raises(RefusedError, match="may be contracted"):
        program_of(ptx, csrc, tmp_path, host_objects)


def test_no_spills_and_few_registers(nvcc: Path, tmp_path: Path) -> None:
    known = builds.run(nvcc, "--list-gpu-code").stdout
    architectures = [a for a in ARCHITECTURES if f"sm_{a}\n" in known + "\n"]
    code = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    source = builds.ROOT / "csrc" / "cuda" / "kernels.cu"
    log = builds.run(
        *(nvcc, "-std=c++17", "-O3", *builds.contract_flags(), *code, "-t", "2", "-Xptxas=-v"),
        *(f"-I{builds.ROOT / 'csrc'}", "-c", source, "-o", tmp_path / "kernels.o"),
    ).stderr
    found = re.findall(
        r"Compiling entry function '\w*forwardILi(\d)ELi(\d)ELb(\d)E\w*' for 'sm_(\d+)'"
        r".*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers",
        log,
        re.DOTALL,
    )
    assert len(found) == 8 * len(architectures), log[-2000:]
    for vectors, groups, cluster, sm, frame, stores, loads, registers in found:
        what = (vectors, groups, cluster, f"sm_{sm}")
        assert stores == loads == "0", what
        assert int(frame) <= 16, (*what, frame)  # of kernels that sample
        assert int(registers) <= MOST_REGISTERS[int(vectors)], (*what, registers)
