"""The thread pool in a child that was forked at the worst moment: `forked_pool.cpp` makes it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or COMPILER is None, reason="needs glibc and a C++ compiler"
)
@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer has pthread_create"
)
def test_a_child_forked_while_the_threads_start_gets_its_own(tmp_path: Path) -> None:
    assert COMPILER is not None
    program = tmp_path / "forked_pool"
    sources = [Path(__file__).with_name("forked_pool.cpp"), ROOT / "csrc/core/thread_pool.cpp"]
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    libraries = ["-pthread", "-ldl"]
    subprocess.run([COMPILER, *flags, *sources, "-o", program, *libraries], check=True)
    done = subprocess.run([program], check=False, timeout=60)
    assert done.returncode == 0, "1: a part not done once, 2: no threads of its own"
