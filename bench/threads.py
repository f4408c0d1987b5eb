"""What a second thread gains: `python -m bench.threads`.

The same policy compiled for one and for two threads, in turns, on two cores to which the process is
pinned; both must give the same bits. The turns are long: the second core sleeps while one thread is
timed, and then needs tens of milliseconds to come back to its full clock.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass

import sparseagent as sa
from bench import sheet
from bench.cell import make_track
from bench.contenders import ours
from bench.machine import describe
from bench.nets import NETS, Case, Net, observations, random_case
from bench.run import isa_name
from bench.study_plots import draw_threads
from bench.timing import Track, clock_cost, interleave, percentile
from bench.verify import Expected

TURN_NS = 200_000_000
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class Speedup:
    """One batch size of one net.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        batch: observations per call.
        one_ns: median time of a call on one thread.
        two_ns: the same on two.
        speedup: `one_ns / two_ns`.
    """

    net: str
    sparsity: float
    batch: int
    one_ns: float
    two_ns: float
    speedup: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV and the figure, print the table; 1 without two cores."""
    parser = sheet.arguments("threads", __doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=["M", "XL"])
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=4.0, help="for each batch size")
    options = parser.parse_args(arguments)
    cores = two_cores(parser, options.core)
    if cores is None:
        return 1
    machine = describe(cores[0])
    os.sched_setaffinity(0, cores)
    isa = isa_name(options.isa)
    rows = [
        row
        for name in options.nets
        for row in measure(NETS[name], options.sparsity, options.batches, isa, options.seconds)
    ]
    sheet.write(options.out, rows, machine, isa)
    print(f"{options.out}\n{draw_threads(sheet.read(options.out), options.figures)}")
    for row in rows:
        times = f"{row.one_ns / 1e3:>10.2f}{row.two_ns / 1e3:>10.2f} us"
        print(f"{row.net:<4}B={row.batch:<6}{times}{row.speedup:>7.2f}x")
    return 0


def two_cores(parser: argparse.ArgumentParser, core: int | None) -> tuple[int, int] | None:
    """`core`, or else the first, and another one; None, which is printed, without another."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(allowed) < 2:
        print(f"two threads need two cores, this process may use {allowed}; nothing measured")
        return None
    first = allowed[0] if core is None else core
    if first not in allowed:
        parser.error(f"--core: expected one of {allowed}, got {first}")
    return first, next(other for other in allowed if other != first)


def plans_of(case: Case, isa: str) -> list[sa.Plan]:
    """The policy, in the order made for `isa`, compiled for one and for two threads."""
    packed = case.policy.repack(ours.own_order(isa))
    return [sa.compile(packed, threads=threads, isa=isa) for threads in (1, 2)]


def tracks_of(case: Case, plans: Sequence[sa.Plan], batch: int) -> list[Track]:
    """One verified track per plan.

    Raises:
        WrongResultError: an output is not the policy's.
    """
    arrays = observations(case, batch)
    expected = Expected(case, arrays)
    return [make_track(ours.variant(act, batch, ""), arrays, expected)[0] for act in plans]


def measure(
    net: Net, sparsity: float, batches: Sequence[int], isa: str, seconds: float
) -> list[Speedup]:
    """One row per batch size.

    Raises:
        WrongResultError: an output is not the policy's.
    """
    case = random_case(net, sparsity)
    plans = plans_of(case, isa)
    rows = []
    for batch in batches:
        tracks = tracks_of(case, plans, batch)
        interleave(tracks, seconds, clock_cost(), burst_ns=TURN_NS)
        one, two = (percentile(track.calls, 0.5) for track in tracks)
        rows.append(Speedup(net.name, sparsity, batch, one, two, one / two))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
