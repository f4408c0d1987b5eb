"""How even calls are, warm and cold: `python -m bench.jitter`.

Warm: a million calls of one observation each, timed one by one, the contenders taking turns.
Percentiles are of calls; the largest of a million is mostly the operating system's.

Cold: before each call one float of every cache line of a buffer of four times the L2 cache is
written, which evicts weights, code and the interpreter from L1 and L2; they come back from L3 or
memory. Fewer calls do.

The contender `nothing` is an empty Python function called in the same way: what Python and the
clock put into every figure, and what the operating system adds at the end of the tail. Nothing is
taken off. The process is pinned, the garbage collector is off, and the times go into arrays that
exist beforehand.
"""

from __future__ import annotations

import gc
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import sheet
from bench.cell import enter
from bench.contenders import Variant, contenders
from bench.machine import describe
from bench.nets import NETS, Float32, Net, observations, random_case
from bench.run import isa_name
from bench.study_plots import draw_jitter
from bench.verify import Expected

NAMES = ("sparseagent-auto", "sparseagent-dense", "numpy", "litert", "onnxruntime")
CALLS, COLD_CALLS = 1_000_000, 10_000
TURN = 1_000
#: Size of L2 where the system does not tell; larger than that of any CPU known.
DEFAULT_L2 = 4 << 20

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Jitter:
    """One contender in one mode; times in ns, Python and the clock included.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        mode: `warm` or `cold`.
        contender: its name, or `nothing`.
        variant: which of its ways was timed.
        calls: how many were timed.
        p50_ns, p99_ns, p999_ns, max_ns: percentiles and the largest.
    """

    net: str
    sparsity: float
    mode: str
    contender: str
    variant: str
    calls: int
    p50_ns: float
    p99_ns: float
    p999_ns: float
    max_ns: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV and the figure, print the table."""
    parser = sheet.arguments("jitter", __doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=["M"])
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--calls", type=int, default=CALLS, help="of each contender, warm")
    parser.add_argument("--cold-calls", type=int, default=COLD_CALLS)
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    rows: list[Jitter] = []
    for name in options.nets:
        counts = {"warm": options.calls, "cold": options.cold_calls}
        rows += measure(NETS[name], options.sparsity, isa, counts)
    sheet.write(options.out, rows, machine, isa)
    print(f"{options.out}\n{draw_jitter(sheet.read(options.out), options.figures)}")
    print(f"{'':<24}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>12} ns")
    for row in rows:
        label = f"{row.net} {row.mode} {row.contender}"
        tail = f"{row.p99_ns:>9.0f}{row.p999_ns:>9.0f}{row.max_ns:>12.0f}"
        print(f"{label:<24}{row.p50_ns:>9.0f}{tail}")
    return 0


def measure(net: Net, sparsity: float, isa: str, counts: dict[str, int]) -> list[Jitter]:
    """Every contender that is installed, in every mode of `counts`."""
    case = random_case(net, sparsity)
    arrays = observations(case, 1)
    expected = Expected(case, arrays)
    known = contenders(isa)
    variants = {"nothing": Variant("", lambda x: x, lambda x: None, lambda: arrays[0])}
    inputs: dict[str, Sequence[Any]] = {"nothing": arrays}
    for name in NAMES:
        entry = enter(known[name], case, 1, arrays, expected)
        if entry.track is None:
            print(f"{name}: {entry.status}")
            continue
        variants[name], inputs[name] = entry.track.variant, entry.track.wrapped
    rows = []
    for mode, count in counts.items():
        times = collect(variants, inputs, count, evict() if mode == "cold" else None)
        for name, variant in variants.items():
            head = (net.name, sparsity, mode, name, variant.name, count)
            rows.append(Jitter(*head, *tail(times[name])))
    return rows


def collect(
    variants: dict[str, Variant],
    inputs: dict[str, Sequence[Any]],
    count: int,
    before: Callable[[], Any] | None,
) -> dict[str, Int64]:
    """Ns of `count` calls of each, int64 `[count]`, in turns of up to `TURN` calls.

    Args:
        variants: what runs, by name.
        inputs: the wrapped observations of each; calls cycle through them.
        count: calls of each.
        before: runs before every call and is not timed, or None.
    """
    times = {name: np.zeros(count, np.int64) for name in variants}
    gc.collect()
    gc.disable()
    try:
        for start in range(0, count, TURN):
            for name, variant in variants.items():
                with variant.inside():
                    turn = times[name][start : start + TURN]
                    _turn(variant.run, inputs[name], turn.data, before)
    finally:
        gc.enable()
    return times


def _turn(
    run: Callable[[Any], Any],
    inputs: Sequence[Any],
    times: memoryview,
    before: Callable[[], Any] | None,
) -> None:
    clock = time.perf_counter_ns
    size = len(inputs)
    run(inputs[0])
    for i in range(len(times)):
        x = inputs[i % size]
        if before is not None:
            before()
        start = clock()
        run(x)
        times[i] = clock() - start


def evict() -> Callable[[], Any]:
    """A function that writes into every cache line of a buffer of four times the L2 cache."""
    buffer = np.zeros(4 * l2_bytes() // 4, np.float32)
    lines: Float32 = buffer[::16]
    return lambda: np.add(lines, np.float32(1), out=lines)


def l2_bytes() -> int:
    """Size of the L2 cache of the first core, `DEFAULT_L2` where the system does not tell."""
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (folder / "level").read_text().strip() == "2":
            found = re.fullmatch(r"(\d+)([KM])", (folder / "size").read_text().strip())
            if found:
                return int(found[1]) << {"K": 10, "M": 20}[found[2]]
    return DEFAULT_L2


def tail(times: Int64) -> tuple[float, float, float, float]:
    """p50, p99, p99.9 and the largest; a percentile that fewer than one call exceeds is NaN."""
    shares = (0.5, 0.99, 0.999)
    enough = [len(times) * (1 - share) >= 1 for share in shares]
    p50, p99, p999 = (
        float(np.percentile(times, 100 * share)) if there else math.nan
        for share, there in zip(shares, enough, strict=True)
    )
    return p50, p99, p999, float(times.max())


if __name__ == "__main__":
    raise SystemExit(main())
