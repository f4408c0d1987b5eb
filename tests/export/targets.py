"""Compilers, flags and emulators that an exported policy is tried with."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import sparseagent as sa
from sparseagent.export import CSource
from sparseagent.export.names import c_names
from sparseagent.export.writer import c_type
from sparseagent.reference import by_name

ROOT = Path(__file__).parents[2]
CORTEX = ROOT / "examples" / "cortex-m"
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-std=c99"]


@dataclass(frozen=True)
class Target:
    """A way to compile and run C, and whether this machine has it."""

    name: str
    compiler: str
    flags: tuple[str, ...]
    runner: tuple[str, ...] = ()
    bare: bool = False

    def missing(self) -> str | None:
        """What must be installed."""
        needed = [self.compiler, *self.runner[:1]]
        lacking = [tool for tool in needed if not shutil.which(tool)]
        return f"needs {', '.join(lacking)}" if lacking else None

    def library(self) -> list[str]:
        """What comes behind the sources on the compiler's command line."""
        if not self.bare:
            return []
        return [str(CORTEX / "start.c"), f"-T{CORTEX / 'link.ld'}", "-nostdlib", "-lgcc"]


def cortex(name: str, machine: str, *flags: str) -> Target:
    runner = ("qemu-system-arm", "-M", machine, "-nographic", "-semihosting", "-kernel")
    common = ("-mthumb", "-O2", "-ffreestanding")
    return Target(name, "arm-none-eabi-gcc", (*common, *flags), runner, bare=True)


@cache
def has_fma() -> bool:
    """Whether this machine runs what -mfma makes."""
    words = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return "fma" in words


HOSTED = [
    Target("doubles", "gcc", ("-O2",)),
    Target("integers", "gcc", ("-O2", "-DTRIED_FMA=3")),
    *([Target("instruction", "gcc", ("-O2", "-mfma"))] if has_fma() else []),
]
AARCH64 = Target(
    "aarch64",
    "aarch64-linux-gnu-gcc",
    ("-O2", "-static"),
    ("qemu-aarch64-static",),
)
CORTEX_M = [
    cortex(
        "cortex-m4f",
        "mps2-an386",
        "-mcpu=cortex-m4",
        "-mfloat-abi=hard",
        "-mfpu=fpv4-sp-d16",
    ),
    cortex("cortex-m0", "microbit", "-mcpu=cortex-m0"),
]


def compile_c(target: Target, sources: list[Path], program: Path, *flags: str) -> Path:
    """Sources to a program; what the compiler says is an error."""
    command = [target.compiler, *STRICT, *target.flags, *flags, *map(str, sources)]
    subprocess.run([*command, "-o", str(program), *target.library()], check=True)
    return program


class Exported:
    """A policy as C, compiled with a driver that reads observations and writes what it gives."""

    def __init__(self, policy: sa.SparsePolicy, source: CSource, folder: Path) -> None:
        self.policy, self.folder, self.name = policy, folder, source.name
        (folder / f"{source.name}.c").write_text(source.source)
        (folder / f"{source.name}.h").write_text(source.header)
        self.outputs = {name: span.size for name, span in policy.program.outputs.items()}
        (folder / "driver.c").write_text(self._driver())

    def run(self, target: Target, observations: object) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Outputs by name and actions, for each observation."""
        sources = [self.folder / "driver.c", self.folder / f"{self.name}.c"]
        kind = "cortex" if target.bare else "hosted"
        sources.append(Path(__file__).with_name(f"files_{kind}.c"))
        flags = [f"-I{CORTEX}", f"-I{self.folder}"]
        program = compile_c(target, sources, self.folder / f"{target.name}.elf", *flags)
        given = by_name(self.policy.program, observations)
        batch = len(next(iter(given.values())))
        rows = [
            np.ascontiguousarray(array, step.dtype).reshape(batch, -1).view(np.uint8)
            for array, step in zip(given.values(), self.policy.inputs.values(), strict=True)
        ]
        (self.folder / "given").write_bytes(np.concatenate(rows, axis=1).tobytes())
        subprocess.run([*target.runner, str(program)], cwd=self.folder, check=True, timeout=120)
        return self._read(batch)

    def _read(self, batch: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        sizes = [*self.outputs.values()]
        discrete = self.policy.head.kind == "argmax"
        sizes.append(1 if discrete else self.policy.output_size)
        words = np.frombuffer((self.folder / "got").read_bytes(), np.float32)
        words = words.reshape(batch, sum(sizes))
        *parts, actions = np.split(words, np.cumsum(sizes)[:-1], axis=1)
        named = dict(zip(self.outputs, map(np.ascontiguousarray, parts), strict=True))
        if discrete:
            return named, np.ascontiguousarray(actions).view(np.int32).ravel().astype(np.int64)
        shape = (batch, *self.policy.action_shape)
        return named, np.ascontiguousarray(actions).reshape(shape)

    def _driver(self) -> str:
        inputs = c_names(self.policy.inputs, "observation", taken=["action"])
        lines, given = [], []
        for key, step in self.policy.inputs.items():
            size = int(np.prod(step.shape, dtype=int))
            lines.append(f"static {c_type(step.dtype)} x_{inputs[key]}[{size}];")
            given.append(f"x_{inputs[key]}")
        for number, size in enumerate(self.outputs.values()):
            lines.append(f"static float y{number}[{size}];")
        lines.append(f"static float action[{self.policy.output_size}];")
        results = ", ".join(f"y{n}" for n in range(len(self.outputs)))
        reads = " && ".join(f"get({name}, sizeof {name})" for name in given)
        writes = "".join(f"    put(y{n}, sizeof y{n});\n" for n in range(len(self.outputs)))
        if self.policy.head.kind == "argmax":
            act = f"    const int32_t chosen = {self.name}_act({', '.join(given)});\n"
            act += "    put(&chosen, sizeof chosen);\n"
        else:
            act = f"    {self.name}_act({', '.join(given)}, action);\n"
            act += "    put(action, sizeof action);\n"
        return (
            f'#include "{self.name}.h"\nint get(void *to, int bytes);\n'
            "void put(const void *from, int bytes);\n"
            + "\n".join(lines)
            + f"\nint main(void) {{\n  (void)action;\n  while ({reads}) {{\n"
            f"    {self.name}_forward({', '.join(given)}, {results});\n{writes}{act}  }}\n"
            "  put(0, 0);\n  return 0;\n}\n"
        )
