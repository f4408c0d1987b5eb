"""What the build does where the CUDA compiler fails: without it, or with an error that says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import builds
import pytest

pytest.importorskip("pybind11", reason="needs pybind11 to configure the build")
pytestmark = pytest.mark.skipif(
    builds.COMPILER is None or shutil.which("cmake") is None, reason="needs CMake and a compiler"
)


def configured(folder: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """CMake with an nvcc that refuses everything."""
    import pybind11

    broken = folder / "nvcc"
    broken.write_text("#!/bin/sh\necho unsupported GNU version >&2\nexit 1\n")
    broken.chmod(0o755)
    options = {
        "SPARSEAGENT_CUDA": mode,
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "Python_EXECUTABLE": sys.executable,
    }
    return subprocess.run(
        ["cmake", "-S", builds.ROOT, "-B", folder / "build"]
        + [f"-D{name}={value}" for name, value in options.items()],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CUDACXX": str(broken)},
    )


def test_a_failing_compiler_is_left_out_with_a_warning(tmp_path: Path) -> None:
    done = configured(tmp_path, "AUTO")
    assert done.returncode == 0, done.stderr
    assert "CUDA extension: OFF" in done.stdout
    assert "the CUDA extension is left out" in " ".join(done.stderr.split())


def test_or_refused_where_the_extension_is_asked_for(tmp_path: Path) -> None:
    done = configured(tmp_path, "ON")
    assert done.returncode != 0
    assert "no CUDA compiler of version 12.8 or newer" in " ".join(done.stderr.split())


def test_nobody_looks_for_it_where_it_is_off(tmp_path: Path) -> None:
    done = configured(tmp_path, "OFF")
    assert done.returncode == 0, done.stderr
    assert "Looking for a CUDA compiler" not in done.stdout
