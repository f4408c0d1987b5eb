"""Policies as C: time here, instructions on microcontrollers: `python -m bench.c_export`.

Nets S and M are exported and compiled for each target. On this machine a forward is timed, the
observation step and the copy of the output included; for a Cortex-M its instructions are counted by
qemu (`-icount shift=0`: an instruction is a nanosecond of the board's timer), which are no cycles.
Flash is what the object holds, code and tables (`size`); stack is what the C file says of itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench import sheet
from bench.machine import ROOT, describe
from bench.nets import NETS, random_case
from bench.run import isa_name
from sparseagent.export import export_c

HERE = Path(__file__).parent
CORTEX = ROOT / "examples" / "cortex-m"
REPEATS = 20


@dataclass(frozen=True)
class Target:
    """A compiler and its flags; for a microcontroller qemu's board and the ns of a tick."""

    name: str
    flags: str
    machine: str = ""
    tick_ns: float = 0.0

    @property
    def compiler(self) -> str:
        """The compiler's program."""
        return "arm-none-eabi-gcc" if self.machine else "gcc"


TARGETS = (
    Target("x86-64-v3", "-O3 -march=x86-64-v3"),
    Target("x86-64-v3 -O2", "-O2 -march=x86-64-v3"),
    Target("x86-64 doubles", "-O3"),
    Target("x86-64 integers", "-O3 -DNET_FMA=3"),
    Target(
        "Cortex-M4F",
        "-O2 -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16",
        "mps2-an386",
        40.0,
    ),
    Target("Cortex-M3", "-O2 -mcpu=cortex-m3 -mthumb", "mps2-an385", 40.0),
    Target("Cortex-M0", "-O2 -mcpu=cortex-m0 -mthumb -DMICROBIT", "microbit", 62.5),
)


@dataclass(frozen=True)
class Exported:
    """One net for one target.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        target: name of the target.
        flags: of the compiler.
        ns: least time of a forward; NaN where instructions were counted.
        median_ns: median time.
        instructions: of a forward; NaN where time was taken.
        flash: bytes of code and tables.
        stack: bytes.
    """

    net: str
    sparsity: float
    target: str
    flags: str
    ns: float
    median_ns: float
    instructions: float
    flash: int
    stack: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV, print the table."""
    parser = sheet.arguments("c_export", __doc__)
    parser.add_argument("--sparsities", nargs="+", type=float, default=[0.9, 0.0])
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    rows = []
    for net in ("M", "S"):
        for sparsity in options.sparsities:
            for target in TARGETS:
                if not shutil.which(target.compiler):
                    print(f"{target.name}: skipped, for there is no {target.compiler}")
                    continue
                with TemporaryDirectory() as folder:
                    rows.append(measure(net, sparsity, target, Path(folder)))
                print(text(rows[-1]))
    sheet.write(options.out, rows, machine, isa)
    print(options.out)
    return 0


def text(row: Exported) -> str:
    """A line of the table."""
    cost = f"{row.ns:9.0f} ns" if np.isnan(row.instructions) else f"{row.instructions:9.0f} instr."
    return f"{row.net} {row.sparsity:<5}{row.target:<16}{cost:>18}{row.flash:>9} B flash"


def measure(net: str, sparsity: float, target: Target, folder: Path) -> Exported:
    """Export, compile, run."""
    source = export_c(random_case(NETS[net], sparsity).policy, folder / "net.c")
    flags = [*target.flags.split(), "-std=gnu99", f"-I{CORTEX}", "-I."]
    compile_ = [target.compiler, *flags]
    subprocess.run([*compile_, "-c", "net.c"], cwd=folder, check=True)
    size = target.compiler.replace("gcc", "size") if target.machine else "size"
    said = subprocess.run([size, "net.o"], cwd=folder, capture_output=True, text=True, check=True)
    flash = int(said.stdout.split("\n")[1].split()[0])
    ns = median = instructions = float("nan")
    if target.machine:
        instructions = _counted(compile_, target, folder)
    else:
        subprocess.run([*compile_, HERE / "time.c", "net.c", "-o", "time"], cwd=folder, check=True)
        out = subprocess.run([folder / "time"], capture_output=True, text=True, check=True).stdout
        ns, median = map(float, out.split())
    (stack,) = re.findall(r"(\d+) bytes of stack", source.source)
    return Exported(
        net, sparsity, target.name, target.flags, ns, median, instructions, flash, int(stack)
    )


def _counted(compile_: list[str], target: Target, folder: Path) -> float:
    """Instructions of a forward; NaN where the net does not fit the flash or there is no qemu."""
    if not shutil.which("qemu-system-arm"):
        return float("nan")
    sources = [str(HERE / "count.c"), "net.c", str(CORTEX / "start.c")]
    link = [f"-T{CORTEX / 'link.ld'}", "-nostdlib", "-lgcc", f"-DREPEATS={REPEATS}"]
    if target.machine != "microbit":
        link.append("-Wl,--defsym=FLASH_SIZE=0x400000")
    made = subprocess.run(
        [*compile_, *sources, *link, "-o", "count"], cwd=folder, capture_output=True, check=False
    )
    if b"will not fit in region" in made.stderr:
        return float("nan")
    if made.returncode:
        raise RuntimeError(made.stderr.decode())
    qemu = ["qemu-system-arm", "-M", target.machine, "-nographic", "-semihosting"]
    subprocess.run([*qemu, "-icount", "shift=0", "-kernel", "count"], cwd=folder, check=True)
    ticks = int.from_bytes((folder / "counted").read_bytes(), "little")
    return ticks * target.tick_ns / REPEATS


if __name__ == "__main__":
    raise SystemExit(main())
