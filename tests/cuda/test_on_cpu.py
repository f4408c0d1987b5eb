"""The kernels' sources as C++ for the CPU: the bits of the scalar reference, and no races.

Every case goes through every tile and cluster, with the threads of a block as fibers in three
orders; under sanitizers, and as threads under ThreadSanitizer. Faults that are planted must show.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import builds
import pytest

pytestmark = [
    pytest.mark.skipif(builds.COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""), reason="has sanitizers of its own"
    ),
]
#: Of the program `cases`; what a plan asks of a driver it never comes to.
SOURCES = [source for source in builds.HOST if "cuda/plan" not in source]
FEW = "X(1, 4, false) X(1, 4, true)"


def outcome(program: Path, mode: str, cases: list[Path], seconds: float = 1500) -> tuple[int, str]:
    done = subprocess.run(
        [program, mode, *cases], capture_output=True, text=True, check=False, timeout=seconds
    )
    return done.returncode, done.stdout + done.stderr


def without_plan(objects: list[Path]) -> list[Path]:
    return [path for path in objects if path.name != "plan.o"]


def test_every_kernel_has_the_bits_of_the_reference(
    cases: dict[str, Path], host_objects: list[Path], tmp_path: Path
) -> None:
    main = builds.compiled(tmp_path, ["tests/cuda/cases.cpp"])
    program = builds.linked(tmp_path / "cases", [*main, *without_plan(host_objects)])
    code, text = outcome(program, "fibers", list(cases.values()))
    assert code == 0, text
    assert int(text.split()[0]) > 1000


def test_nothing_undefined(cases: dict[str, Path], tmp_path: Path) -> None:
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    objects = builds.compiled(tmp_path, [*SOURCES, "tests/cuda/cases.cpp"], *flags)
    program = builds.linked(tmp_path / "cases", objects, *flags)
    some = [path for name, path in cases.items() if name not in ("wide", "simba")][::3]
    code, text = outcome(program, "fibers", some)
    assert code == 0, text


@pytest.fixture(scope="module")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("threaded")
    return builds.compiled(folder, SOURCES, "-fsanitize=thread")


def under_thread_sanitizer(threaded: list[Path], folder: Path, csrc: Path) -> Path:
    flags = ["-fsanitize=thread", f"-I{csrc}"]
    main = builds.compiled(folder, ["tests/cuda/cases.cpp"], *flags)
    return builds.linked(folder / "cases", [*main, *threaded], *flags)


def racing_cases(cases: dict[str, Path]) -> list[Path]:
    return [cases[name] for name in ("random0", "random1", "several", "runs")]


def test_no_races(cases: dict[str, Path], threaded: list[Path], tmp_path: Path) -> None:
    program = under_thread_sanitizer(threaded, tmp_path, builds.ROOT / "csrc")
    code, text = outcome(program, "threads", racing_cases(cases))
    assert code == 0, text[-3000:]


def test_thread_sanitizer_sees_a_missing_barrier(
    cases: dict[str, Path], threaded: list[Path], tmp_path: Path
) -> None:
    csrc = builds.with_faults(tmp_path, "fused.h", "  __syncthreads();\n", "")
    builds.few_kernels(csrc, FEW)
    program = under_thread_sanitizer(threaded, tmp_path, csrc)
    _, text = outcome(program, "threads", racing_cases(cases)[:1])
    assert "data race" in text


FAULTS = {
    "between steps": ("fused.h", "      wait<kCluster>(linear || next);\n", ""),
    "between tiles": ("fused.h", "    wait<kCluster>(true);\n", ""),
    "of a block": ("fused.h", "  __syncthreads();\n", ""),
    "of a cluster": ("fused.h", "    if (together) return cluster_barrier();\n", ""),
    "before a layer": ("fused.h", "wait<kCluster>(linear || next)", "wait<kCluster>(linear)"),
    "behind a layer": ("fused.h", "wait<kCluster>(linear || next)", "wait<kCluster>(next)"),
    "behind a mean": (
        *(
            "columns.h",
            "    __syncthreads();\n    for (int j = 0; j < V; ++j) {\n      const vec n",
        ),
        "    for (int j = 0; j < V; ++j) {\n      const vec n",
    ),
    "behind squares": ("columns.h", "  __syncthreads();\n  for (int j", "  for (int j"),
    "zeros": ("fused.h", "    block.at(0, c) = 0.0f;\n", ""),
    "turn": ("block.h", "offset(p) ^ (4u *", "offset(p) + (4u *"),
    "order of a tree": (
        *("rows.h", "sum.v[j] = __fadd_rn(part[level].v[j], sum.v[j]);\n      } else"),
        "sum.v[j] = part[0].v[j];\n      } else",
    ),
    "rounds twice": (
        *("rows.h", "__fmaf_rn(__uint_as_float(pair.z), b.v[j], acc.v[j])"),
        "__fadd_rn(__fmul_rn(__uint_as_float(pair.z), b.v[j]), acc.v[j])",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows(
    fault: str, cases: dict[str, Path], host_objects: list[Path], tmp_path: Path
) -> None:
    csrc = builds.with_faults(tmp_path, *FAULTS[fault])
    builds.few_kernels(csrc, FEW)
    flags = ["-O0", f"-I{csrc}", "-Wno-error"]
    main = builds.compiled(tmp_path, ["tests/cuda/cases.cpp"], *flags)
    program = builds.linked(tmp_path / "cases", [*main, *without_plan(host_objects)])
    some = [path for name, path in cases.items() if name not in ("wide", "simba")]
    code, text = outcome(program, "until", some)
    assert code != 0, f"nobody saw it: {text}"
