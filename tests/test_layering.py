"""The walls of the architecture: who may import whom, file sizes, where pybind11 may appear."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sparseagent"
CSRC = ROOT / "csrc"

# What a module may import of the project when it is loaded, by the first part of its name below
# `sparseagent`. Imports inside a function are lazy and not counted, but for torch: see below.
ALLOWED = {
    "csr": set(),
    "observation": {"csr"},
    "head": {"csr"},
    "policy": {"csr", "head", "observation"},
    "policyfile": {"csr", "head", "observation", "policy"},
    "plan": {"_core", "head", "policy", "tuning"},
    "tuning": {"csr", "policy"},
    "reference": {"_core", "csr", "policy"},
    "repack": {"_core", "csr", "policy"},
    "rollouts": {"environments"},
    "random_policy": {"environments"},
    "environments": set(),
    "distractors": set(),
    "prune": {"prune"},
    "convert": {"convert", "csr", "head", "observation", "policy", "reference", "repack"},
    "report": {"report"},
    "robustness": {"environments", "report", "robustness", "rollouts"},
    "train": None,  # the pipeline may use everything
    "study": None,
    "commands": None,
    "cli": None,
    "__init__": {"csr", "head", "observation", "plan", "policy", "policyfile"},
}
NUMPY_ONLY = {
    "csr",
    "observation",
    "head",
    "policy",
    "policyfile",
    "plan",
    "reference",
    "repack",
    "tuning",
}
NUMPY_ONLY |= {"__init__"}
HEAVY = {"torch", "gymnasium", "stable_baselines3", "scipy", "matplotlib", "envpool", "typer"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def top_level_imports(path: Path) -> set[str]:
    """Modules imported when `path` is loaded (not for type checking only)."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            from_package = node.module == "sparseagent"
            names |= (
                {f"sparseagent.{a.name}" for a in node.names} if from_package else {node.module}
            )
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports(path: Path) -> None:
    part = part_of(path)
    assert part in ALLOWED, f"{part}: say in ALLOWED what this new part may import"
    imported = top_level_imports(path)
    inner = {n.split(".")[1] for n in imported if n.startswith("sparseagent.")}
    allowed = ALLOWED[part]
    assert allowed is None or inner <= allowed, f"{part} may not import {inner - allowed}"
    outer = {name.split(".")[0] for name in imported}
    if part in NUMPY_ONLY or part in ("rollouts", "environments", "random_policy", "report", "cli"):
        assert not outer & HEAVY, f"{part} must load {outer & HEAVY} lazily"


def test_only_the_binding_includes_pybind11() -> None:
    users = {p.name for p in CSRC.rglob("*") if p.is_file() and "pybind11/" in p.read_text()}
    assert users <= {"bind.cpp", "bind_arrays.h", "bind_plan.h"}


def includes(path: Path) -> set[str]:
    return set(re.findall(r'#include "([^"]+)"', path.read_text()))


def test_kernels_see_only_the_kernel_interface_and_simd() -> None:
    for path in [*(CSRC / "kernels").glob("*"), *(CSRC / "simd").glob("*.[ch]*")]:
        core = {name for name in includes(path) if name.startswith("core/")}
        assert core <= {"core/kernel.h", "core/layer.h"}, path.name


def test_isa_flagged_files_use_no_library() -> None:
    """No STL in files compiled for one instruction set: shared code could leak to other CPUs."""
    allowed = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}
    for path in [*(CSRC / "kernels").glob("*.cpp"), *(CSRC / "simd").glob("*.[ch]*")]:
        system = set(re.findall(r"#include <([^>]+)>", path.read_text()))
        assert system <= allowed, path.name


def sources() -> list[Path]:
    names = ("csrc", "sparseagent", "tests", "bench", "examples")
    found = [p for name in names for p in (ROOT / name).rglob("*")]
    return sorted(p for p in found if p.suffix in {".py", ".cpp", ".h", ".cu"})


def test_file_sizes() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long, "one file, one job: split these"


def test_no_flags_that_break_the_promise() -> None:
    for path in [ROOT / "CMakeLists.txt", *(ROOT / "cmake").iterdir(), ROOT / "pyproject.toml"]:
        assert not re.search(r"march=native|ffast-math|funsafe-math", path.read_text()), path.name
    assert "-ffp-contract=off" in (ROOT / "CMakeLists.txt").read_text()


def test_adding_a_kernel_format_is_one_file() -> None:
    """Formats are found by listing the folder: no other source or build file names one."""
    for path in (CSRC / "kernels").glob("*.cpp"):
        word = re.compile(rf"\b{path.stem}\.cpp\b")
        for other in [ROOT / "CMakeLists.txt", *(ROOT / "cmake").iterdir(), *CSRC.rglob("*.h")]:
            assert not word.search(other.read_text()), (path.name, other.name)
