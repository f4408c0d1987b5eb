"""Objects compiled for one instruction set leak nothing to the code of other CPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = os.environ.get("SPARSEAGENT_NATIVE_BUILD")
pytestmark = [
    pytest.mark.skipif(not BUILD, reason="SPARSEAGENT_NATIVE_BUILD names no C++ build (make test)"),
    pytest.mark.skipif(not shutil.which("nm"), reason="needs nm"),
]


def objects() -> list[Path]:
    return sorted(
        path
        for path in Path(BUILD or ".").rglob("*.o")
        if any(f"sparseagent_{kind}_" in str(path) for kind in ("kernel", "fma_loop", "transposes"))
    )


def symbols(path: Path) -> list[tuple[str, str]]:
    """(type, name) of every symbol with external linkage that `path` defines."""
    text = subprocess.run(
        ["nm", "--defined-only", "--extern-only", path], capture_output=True, text=True, check=True
    ).stdout
    return [(line.split()[-2], line.split()[-1]) for line in text.splitlines()]


def test_there_are_objects() -> None:
    names = {path.parent.parent.parent.name for path in objects()} | {str(p) for p in objects()}
    assert any("dense_scalar" in name for name in names)
    assert len(objects()) >= 6


@pytest.mark.skipif(not BUILD, reason="no C++ build")
@pytest.mark.parametrize("path", objects() if BUILD else [], ids=lambda p: p.parts[-2])
def test_one_strong_symbol_and_no_constructors(path: Path) -> None:
    found = symbols(path)
    assert len(found) == 1, found
    assert found[0][0].isupper(), found
    assert found[0][0] not in "WVu", found
    sections = subprocess.run(
        ["objdump", "-h", path], capture_output=True, text=True, check=True
    ).stdout
    assert ".init_array" not in sections
    assert ".ctors" not in sections
