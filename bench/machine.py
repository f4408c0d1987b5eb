"""What a row says about where it was measured, and the pinning of the process."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sparseagent import _core
from sparseagent.train.machine import source_commit

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Machine:
    """Facts that are the same for every row of a run.

    Attributes:
        cpu: model name, family, model and number of cores as the operating system reports them.
        kernel: operating system and its version.
        python: version of the interpreter.
        commit: the commit of this repository, with `+` if sources differ from it.
        core: the core the process is pinned to, or -1 where the system cannot pin.
    """

    cpu: str
    kernel: str
    python: str
    commit: str
    core: int


def describe(core: int | None = None) -> Machine:
    """Pin this process to `core` (the last one it may use if None) and describe the machine."""
    pinned = pin(core)
    return Machine(
        cpu=cpu_model(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        commit=source_commit(ROOT),
        core=pinned,
    )


def pin(core: int | None = None) -> int:
    """Bind the process to one core; returns it, or -1 where the system has no such call.

    Raises:
        ValueError: the process may not run on `core`.
    """
    if not hasattr(os, "sched_setaffinity"):
        return -1
    allowed = os.sched_getaffinity(0)
    chosen = max(allowed) if core is None else core
    if chosen not in allowed:
        raise ValueError(f"core: expected one of {sorted(allowed)}, got {core}")
    os.sched_setaffinity(0, {chosen})
    return chosen


def cpu_model() -> str:
    """`AMD EPYC, family 25 model 17, 2 cores`: hypervisors often hide the marketing name."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = facts.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in facts:
        name += f", family {facts['cpu family']} model {facts['model']}"
    return f"{name}, {os.cpu_count()} cores"


def load_average() -> float:
    """Load of the last minute: above about 1 something else ran and the row is suspect."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


@lru_cache
def compiler_flags(isa: str) -> str:
    """Compiler and flags of the kernels: the first from the built module, the rest from CMake.

    The module carries its compiler's name in its `.comment` section; the flags are those that
    this source tree states for `isa`, empty where it has no such instruction set.
    """
    binary = Path(_core.__file__ or "").read_bytes()
    found = re.search(rb"GCC: \([^)\0]*\) [\d.]+|clang version [\d.]+", binary)
    compiler = found.group().decode() if found else "unknown compiler"
    general = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    own = (ROOT / "cmake" / "isa.cmake").read_text(encoding="utf-8")
    options = re.search(r"sparseagent_options INTERFACE (-O[^)]*)\)", general)
    line = re.search(rf"sparseagent_isa\({re.escape(isa)} .*?\)", own, re.DOTALL)
    words = (options.group(1) if options else "").split() + (line.group() if line else "").split()
    flags = [word.rstrip(")") for word in words if re.match(r"-[Ofm]", word)]
    return " ".join([compiler, *flags])
