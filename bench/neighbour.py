"""What a second thread costs beside a busy neighbour: `python -m bench.neighbour`.

Another process keeps the second of two cores busy. The same policy compiled for one and for two
threads, in turns, with and without that neighbour; the process may use both cores. Sharing a call
cannot gain much then; it must not lose either, neither in the median nor in the tail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import sparseagent as sa
from bench import sheet
from bench.machine import describe
from bench.nets import NETS, Case, random_case
from bench.run import isa_name
from bench.threads import TURN_NS, plans_of, tracks_of, two_cores
from bench.timing import clock_cost, interleave, percentile

BATCHES = (1, 32, 256)
SPARSITIES = (0.9, 0.0)


@dataclass(frozen=True)
class Beside:
    """One batch size of one net, with or without the neighbour.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        batch: observations per call.
        neighbour: 1 if another process kept the second core busy, else 0.
        one_ns: median time of a call on one thread.
        two_ns: the same on two.
        one_p99_ns: 99th percentile on one thread.
        two_p99_ns: the same on two.
    """

    net: str
    sparsity: float
    batch: int
    neighbour: int
    one_ns: float
    two_ns: float
    one_p99_ns: float
    two_p99_ns: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV, print the table; 1 without two cores."""
    parser = sheet.arguments("neighbour", __doc__)
    parser.add_argument("--net", choices=list(NETS), default="L")
    parser.add_argument("--sparsities", nargs="+", type=float, default=list(SPARSITIES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line of the table")
    options = parser.parse_args(arguments)
    cores = two_cores(parser, options.core)
    if cores is None:
        return 1
    machine = describe(cores[0])
    os.sched_setaffinity(0, cores)
    isa = isa_name(options.isa)
    rows = []
    for sparsity in options.sparsities:
        case = random_case(NETS[options.net], sparsity)
        plans = plans_of(case, isa)
        for batch in options.batches:
            rows += measure(case, plans, batch, cores[1], options.seconds)
    sheet.write(options.out, rows, machine, isa)
    print(f"{options.out}\n{'':24}{'median':>22}{'p99':>22}   us, one thread and two")
    for row in rows:
        beside = "beside another" if row.neighbour else "alone"
        numbers = (row.one_ns, row.two_ns, row.one_p99_ns, row.two_p99_ns)
        times = "".join(f"{ns / 1e3:>11.1f}" for ns in numbers)
        print(f"{row.net} {row.sparsity:<4} B={row.batch:<4}{beside:<15}{times}")
    return 0


def measure(
    case: Case, plans: Sequence[sa.Plan], batch: int, core: int, seconds: float
) -> list[Beside]:
    """Two rows: without and with a neighbour on `core`.

    Raises:
        WrongResultError: an output is not the policy's.
    """
    rows = []
    places: tuple[AbstractContextManager[object], ...] = (nullcontext(), busy(core))
    for neighbour, beside in enumerate(places):
        with beside:
            tracks = tracks_of(case, plans, batch)
            interleave(tracks, seconds, clock_cost(), burst_ns=TURN_NS)
        medians = [percentile(track.calls, 0.5) for track in tracks]
        tails = [percentile(track.calls, 0.99) for track in tracks]
        rows.append(Beside(case.net, case.sparsity, batch, neighbour, *medians, *tails))
    return rows


@contextmanager
def busy(core: int) -> Iterator[None]:
    """A process of its own that keeps `core` busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(process.pid, {core})
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
