"""Benchmarks of sparseagent against every peer, verified before timed.

Importing this package fixes the process to one thread per library and lets the installed
sparseagent win over the source tree. Both must happen before NumPy, torch or sparseagent loads, so
they stand here: `python -m bench.run` and pytest come by first.
"""

import os
import sys
from pathlib import Path

_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TORCHINDUCTOR_COMPILE_THREADS",
)
for _name in _ONE_THREAD:
    os.environ[_name] = "1"


def _name_openblas_core() -> None:
    """Name the AVX-512 kernels to OpenBLAS on AMD.

    OpenBLAS knows CPUs by model number and takes those it does not know for an old one: some
    versions run their Haswell kernels on Zen 5. No peer shall lose through that. A value already
    in the environment stays.
    """
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            words = set(file.read().split())
    except OSError:
        return
    if {"AuthenticAMD", "avx512f", "avx512vl"} <= words:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")


_name_openblas_core()


def _prefer_installed() -> None:
    """Put the repository last on the path.

    `python -m` and pytest put it first, where a source tree without its compiled core would hide
    the installed package.
    """
    root = Path(__file__).resolve().parent.parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != root] + [str(root)]


_prefer_installed()
