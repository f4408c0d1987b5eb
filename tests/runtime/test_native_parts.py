"""Parts of the core that Python cannot drive by itself, each in a small program of its own."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., int]:
    """Compile sources, of this folder or by their path in the repository; the exit code."""

    def make(name: str, *more: str) -> int:
        assert COMPILER is not None
        sources = [Path(__file__).with_name(name), *(ROOT / source for source in more)]
        flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
        program = tmp_path / "program"
        libraries = ["-pthread", "-ldl"]
        subprocess.run([COMPILER, *flags, *sources, "-o", program, *libraries], check=True)
        return subprocess.run([program], check=False, timeout=60).returncode

    return make


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer has pthread_create"
)
def test_a_child_forked_while_the_threads_start_gets_its_own(run: Callable[..., int]) -> None:
    code = run("forked_pool.cpp", "csrc/core/thread_pool.cpp")
    assert code == 0, "1: a part not done once, 2: no threads of its own"


def test_what_a_part_throws_arrives_when_all_parts_are_done(run: Callable[..., int]) -> None:
    assert run("throwing_pool.cpp", "csrc/core/thread_pool.cpp") == 0, "see the program"


def test_the_threads_follow_the_cpus_that_may_be_used(run: Callable[..., int]) -> None:
    assert run("affine_pool.cpp", "csrc/core/thread_pool.cpp") == 0, "see the program"


def test_sharing_rests_where_it_loses(run: Callable[..., int]) -> None:
    assert run("sharing.cpp", "csrc/core/sharing.cpp") == 0, "see the program"


def test_one_interruption_puts_nobody_out_of_the_race(run: Callable[..., int]) -> None:
    assert run("race.cpp") == 0
