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
SEED, STEP = 0x123456789ABCDEF1, 0x100000005
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


@dataclass(frozen=True)
class Result:
    """What an exported policy gives for `[B, ...]` observations: bits as they came.

    Samples are those of `SEED`, `STEP` and rows 0, 1, ...; None where the head has none.
    """

    outputs: dict[str, np.ndarray]
    actions: np.ndarray
    samples: np.ndarray | None


class Exported:
    """A policy as C, compiled with a driver that reads observations and writes what it gives."""

    def __init__(self, policy: sa.SparsePolicy, source: CSource, folder: Path) -> None:
        self.policy, self.folder, self.name = policy, folder, source.name
        (folder / f"{source.name}.c").write_text(source.source)
        (folder / f"{source.name}.h").write_text(source.header)
        self.outputs = {name: span.size for name, span in policy.program.outputs.items()}
        (folder / "driver.c").write_text(self._driver())

    def run(self, target: Target, observations: object) -> Result:
        """What the program gives for each observation."""
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

    def _read(self, batch: int) -> Result:
        sizes = [*self.outputs.values()]
        dtype, shape = self.policy.head.action_of(self.policy.output_size)
        sizes += [int(np.prod(shape, dtype=int))] * (2 if self.policy.head.samples else 1)
        words = np.frombuffer((self.folder / "got").read_bytes(), np.float32)
        words = words.reshape(batch, sum(sizes))
        parts = [
            np.ascontiguousarray(part) for part in np.split(words, np.cumsum(sizes)[:-1], axis=1)
        ]
        actions = [part.reshape(batch, *shape) for part in parts[len(self.outputs) :]]
        if dtype == "int64":
            actions = [part.view(np.int32).astype(np.int64) for part in actions]
        outputs = dict(zip(self.outputs, parts, strict=False))
        return Result(outputs, actions[0], actions[-1] if self.policy.head.samples else None)

    def _driver(self) -> str:
        inputs = c_names(self.policy.inputs, "observation", taken=["action"])
        lines, given = [], []
        for key, step in self.policy.inputs.items():
            size = int(np.prod(step.shape, dtype=int))
            lines.append(f"static {c_type(step.dtype)} x_{inputs[key]}[{size}];")
            given.append(f"x_{inputs[key]}")
        for number, size in enumerate(self.outputs.values()):
            lines.append(f"static float y{number}[{size}];")
        dtype, shape = self.policy.head.action_of(self.policy.output_size)
        size = int(np.prod(shape, dtype=int))
        lines.append(f"static {'int32_t' if dtype == 'int64' else 'float'} action[{size}];")
        results = ", ".join(f"y{n}" for n in range(len(self.outputs)))
        reads = " && ".join(f"get({name}, sizeof {name})" for name in given)
        writes = "".join(f"    put(y{n}, sizeof y{n});\n" for n in range(len(self.outputs)))
        act = ""
        for call, more in (("act", []), ("sample", [f"{SEED}ull", f"{STEP}ull", "row++"])):
            if call == "sample" and not self.policy.head.samples:
                continue
            before, behind = ("", ["action"]) if shape else ("action[0] = ", [])
            arguments = ", ".join([*given, *more, *behind])
            act += (
                f"    {before}{self.name}_{call}({arguments});\n    put(action, sizeof action);\n"
            )
        return (
            f'#include "{self.name}.h"\nint get(void *to, int bytes);\n'
            "void put(const void *from, int bytes);\n"
            + "\n".join(lines)
            + f"\nint main(void) {{\n  uint32_t row = 0;\n  (void)row;\n  while ({reads}) {{\n"
            f"    {self.name}_forward({', '.join(given)}, {results});\n{writes}{act}  }}\n"
            "  put(0, 0);\n  return 0;\n}\n"
        )
