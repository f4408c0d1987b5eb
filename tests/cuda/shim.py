"""The CUDA extension built over the CPU: same binding, plan and kernels, arrays of the CPU."""

from __future__ import annotations

import ctypes
import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import builds
import numpy as np

SOURCES = ["csrc/bind_cuda.cpp", "csrc/bind_lock.cpp", "tests/cuda/driver_on_cpu.cpp"]
NAME = "_cuda_on_cpu"


def build(folder: Path, host_objects: list[Path]) -> Path:
    """The module as a file."""
    import pybind11

    paths = [pybind11.get_include(), sysconfig.get_path("include")]
    flags = [*(f"-isystem{path}" for path in paths), "-fvisibility=hidden"]
    flags.append(f"-DSPARSEAGENT_CUDA_MODULE={NAME}")
    objects = builds.compiled(folder, SOURCES, *flags)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return builds.linked(folder / f"{NAME}{suffix}", [*objects, *host_objects], "-shared")


def load(path: Path) -> ModuleType:
    """That file as a module; not among those that `import` finds."""
    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Seen:
    """What the driver noted: launches, waits and the last stream."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._launches = ctypes.c_long.in_dll(library, "on_cpu_launches")
        self._waits = ctypes.c_long.in_dll(library, "on_cpu_waits")
        self._stream = ctypes.c_void_p.in_dll(library, "on_cpu_stream")

    @property
    def launches(self) -> int:
        return self._launches.value

    @property
    def waits(self) -> int:
        return self._waits.value

    @property
    def stream(self) -> int:
        return self._stream.value or 0


class InterfaceArray:
    """What CuPy, Numba and Warp have: `__cuda_array_interface__`; over NumPy's memory."""

    def __init__(self, array: Any, stream: int | None = None, **facts: Any) -> None:
        self.array = array
        self.stream = stream
        self.facts = facts

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        given = self.array.__array_interface__
        kept = {key: given[key] for key in ("shape", "typestr", "data", "strides")}
        return kept | {"version": 3, "stream": self.stream} | self.facts


class CapsuleArray:
    """What JAX has: `__dlpack__` alone; over NumPy's memory."""

    def __init__(self, array: Any, device: tuple[int, int] = (1, 0)) -> None:
        self.array = array
        self.device = device
        self.streams: list[Any] = []

    def __dlpack__(self, stream: Any = None) -> Any:
        self.streams.append(stream)
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


def as_module(name: str, **members: Any) -> ModuleType:
    """A library of that name, for as long as it stands in `sys.modules`."""
    module = ModuleType(name)
    for key, member in members.items():
        setattr(module, key, member)
    return module


def numbers(array: Any) -> Any:
    """A result in no library, as NumPy's."""
    return np.from_dlpack(array)
