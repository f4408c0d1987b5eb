"""Compiling the CUDA sources for tests: as C++ for the CPU, and by nvcc."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
#: What a plan needs besides the kernels: reader, checks, packing.
HOST = [
    *sorted(f"csrc/policy/{path.name}" for path in (ROOT / "csrc" / "policy").glob("*.cpp")),
    *(f"csrc/core/{name}.cpp" for name in ("check", "observation", "places")),
    *(f"csrc/cuda/{name}.cpp" for name in ("choose", "image", "plan")),
    "tests/cuda/on_cpu.cpp",
]
FLAGS = ["-std=c++17", "-g1", "-fPIC", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
FMA = ["-mfma"] if os.uname().machine == "x86_64" else []

Path_ = str | Path


def run(*command: Path_, **how: object) -> subprocess.CompletedProcess[str]:
    """A command that is expected to do its work."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **how
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def compiled(folder: Path, sources: Sequence[Path_], *flags: str) -> list[Path]:
    """Objects of the sources, two at a time; paths are of the repository, or absolute."""
    assert COMPILER is not None
    folder.mkdir(exist_ok=True)

    def one(source: Path_) -> Path:
        made = folder / f"{Path(source).stem}.o"
        includes = [f"-I{ROOT / 'csrc'}", f"-I{HERE}"]
        run(COMPILER, "-O1", *FLAGS, *FMA, *flags, *includes, "-c", ROOT / source, "-o", made)
        return made

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, sources))


def linked(program: Path, objects: Sequence[Path], *flags: str) -> Path:
    """A program, or a library with `-shared` among the flags."""
    assert COMPILER is not None
    run(COMPILER, *objects, *flags, "-pthread", "-o", program)
    return program


def with_faults(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of csrc/ with `old` replaced in one file of csrc/cuda; for -I before the other."""
    shutil.copytree(ROOT / "csrc", folder / "csrc", dirs_exist_ok=True)
    path = folder / "csrc" / "cuda" / file
    text = path.read_text()
    assert text.count(old) == 1, (file, old, text.count(old))
    path.write_text(text.replace(old, new))
    return folder / "csrc"


def few_kernels(csrc: Path, kernels: str) -> None:
    """Only these of the kernels: quicker to compile."""
    path = csrc / "cuda" / "net.h"
    text = path.read_text()
    table = re.search(r"#define SPARSEAGENT_CUDA_KERNELS\(X\)(.*\\\n)+.*\n", text)
    assert table is not None
    path.write_text(text.replace(table[0], f"#define SPARSEAGENT_CUDA_KERNELS(X) {kernels}\n"))


def nvcc() -> Path | None:
    """The CUDA compiler of this machine, or of the package nvidia-cuda-nvcc."""
    found = os.environ.get("CUDACXX") or shutil.which("nvcc")
    if found:
        return Path(found)
    package = importlib.util.find_spec("nvidia")
    for place in (package and package.submodule_search_locations) or []:
        for path in Path(place).glob("cu*/bin/nvcc"):
            return path
    return None


def contract_flags() -> list[str]:
    """The flags of the build that the contract needs, from cmake/cuda.cmake."""
    text = (ROOT / "cmake" / "cuda.cmake").read_text()
    flags = re.findall(r"-(?:ftz|prec-div|prec-sqrt|fmad)=\w+", text)
    assert len(flags) == 4
    return flags


def ptx(folder: Path, csrc: Path, *flags: str) -> str:
    """What nvcc makes of the kernels, for the newest features that they use."""
    compiler = nvcc()
    assert compiler is not None
    folder.mkdir(exist_ok=True)
    made = folder / "kernels.ptx"
    run(
        *(compiler, "-std=c++17", "-O3", "-arch=compute_90", "-ptx", *flags, f"-I{csrc}"),
        *(csrc / "cuda" / "kernels.cu", "-o", made),
    )
    return made.read_text()
