"""The machine and the software of a run: what a number in a report needs to mean anything."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import sparseagent

_PACKAGES = ("sparseagent", "numpy", "torch", "stable-baselines3", "gymnasium")


def describe_machine(command: str | None = None) -> dict[str, str]:
    """Processor, instruction sets, load average, versions and command, as text by name."""
    facts = {
        "command": command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "processor": processor_name(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"),
        "instruction sets": ", ".join(_instruction_sets()),
        "load average": load_average(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    facts.update({package: _version(package) for package in _PACKAGES})
    return facts


def source_commit(folder: Path) -> str:
    """Short hash of the commit that `folder` belongs to; "unknown" outside of git.

    `+` is appended where sources differ from it. Tables and figures, which the measurements write
    themselves, are no sources.
    """
    sources = [f":(top)*{suffix}" for suffix in (".py", ".cpp", ".h", ".cmake", ".txt", ".toml")]
    try:
        commit = _git(folder, "rev-parse", "--short=10", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *sources)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit + "+" * bool(changed)


def package_commit() -> str:
    """Commit of the package's own sources; `"installed <version>"` where it is no checkout.

    An installed package often lies inside of some other repository, in its virtual environment.
    """
    source = Path(sparseagent.__file__).resolve()
    try:
        _git(source.parent, "ls-files", "--error-unmatch", source.name)
    except (OSError, subprocess.SubprocessError):
        return f"installed {_version('sparseagent')}"
    return source_commit(source.parent)


def _git(folder: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def processor_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def load_average() -> str:
    """Load average over 1, 5 and 15 minutes; more than the cores in use means a shared machine."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


def _instruction_sets() -> list[str]:
    """Instruction sets that the compiled kernels can use here, plainest first."""
    return [isa.name for isa in sparseagent.kernels() if isa.available]
