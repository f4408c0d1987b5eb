"""One call in a control loop of 1 kHz, after a sleep: `python -m bench.tick`.

A loop sleeps until its tick (`time.sleep`, which is `clock_nanosleep`), takes the observation and
calls the policy once. Meanwhile the core was halted or ran something else: what a tight loop has in
caches, TLB and branch predictors is gone. The ways to run it:

- `tight`: one call after the other, for comparison.
- `sleep`: sleep until the tick, call.
- `early`: wake `--lead` microseconds early, spin until the tick, call.
- `ready`: wake early, prepare, spin until the tick, call. To prepare is `act.prefetch()` for ours,
  and for the others a call with another observation, which is the best that they offer.

Only the call is timed, from the tick on. With the work `memory` the loop also writes, between the
ticks, one float of every cache line of a buffer of four times the L2 cache, as a program would that
does something besides. All take turns of `TURN` ticks on one pinned core, under the ordinary
scheduler and under SCHED_FIFO where that is permitted; the garbage collector is off.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import sparseagent as sa
from bench import sheet
from bench.cell import enter
from bench.contenders import Variant, contenders
from bench.jitter import Int64, evict, tail
from bench.machine import describe
from bench.nets import NETS, Net, observations, random_case
from bench.run import isa_name
from bench.study_plots import draw_tick
from bench.verify import Expected

NAMES = ("sparseagent-auto", "sparseagent-dense", "numpy", "onnxruntime")
WAYS = ("tight", "sleep", "early", "ready")
WORKS = ("none", "memory")
SCHEDULERS = ("other", "fifo")
PERIOD_NS = 1_000_000
LEAD_US = 100
TICKS = 2_000
TURN = 50
#: Above the threads of interrupts (50), so that nothing but the kernel itself comes between.
PRIORITY = 60

Action = Callable[[], Any]


@dataclass(frozen=True)
class Tick:
    """One contender in one way; times in ns, Python and the clock included.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        scheduler: `other` (the ordinary one) or `fifo`.
        work: what the loop does between ticks, `none` or `memory`.
        contender: its name.
        variant: which of its ways to compute was timed.
        way: `tight`, `sleep`, `early` or `ready`.
        calls: how many were timed.
        p50_ns, p99_ns, p999_ns, max_ns: percentiles and the largest.
        late: share of the ticks at which the loop was not there when the tick came; all of them
            in the way `sleep`, which wakes afterwards.
    """

    net: str
    sparsity: float
    scheduler: str
    work: str
    contender: str
    variant: str
    way: str
    calls: int
    p50_ns: float
    p99_ns: float
    p999_ns: float
    max_ns: float
    late: float


@dataclass(frozen=True, eq=False)
class Runner:
    """A verified variant, its inputs, what prepares it, and the times of each way."""

    variant: Variant
    inputs: Sequence[Any]
    prepare: Action
    times: dict[str, Int64]
    late: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV and the figure, print the table."""
    parser = sheet.arguments("tick", __doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=["S", "M", "L"])
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--ticks", type=int, default=TICKS, help="of each contender in each way")
    parser.add_argument("--lead", type=float, default=LEAD_US, help="us to wake before the tick")
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--schedulers", nargs="+", choices=SCHEDULERS, default=list(SCHEDULERS))
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    rows: list[Tick] = []
    for scheduler in options.schedulers:
        if scheduler == "fifo" and not fifo_permitted():
            print("SCHED_FIFO: not permitted here, so not measured")
            continue
        for name in options.nets:
            for work in options.work:
                with scheduled(scheduler):
                    runners = prepare(NETS[name], options.sparsity, isa, options.ticks)
                    collect(
                        runners, round(1e3 * options.lead), evict() if work == "memory" else None
                    )
                rows += _rows(runners, NETS[name], options.sparsity, scheduler, work)
    sheet.write(options.out, rows, machine, isa)
    print(f"{options.out}\n{draw_tick(sheet.read(options.out), options.figures)}")
    print(f"{'':<44}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>12} ns{'late':>8}")
    for row in rows:
        label = f"{row.net} {row.scheduler} {row.work} {row.contender} {row.way}"
        numbers = f"{row.p50_ns:>9.0f}{row.p99_ns:>9.0f}{row.p999_ns:>9.0f}{row.max_ns:>12.0f}"
        print(f"{label:<44}{numbers}   {row.late:>7.1%}")
    return 0


def prepare(net: Net, sparsity: float, isa: str, ticks: int) -> dict[str, Runner]:
    """Every contender that is installed, verified, with room for the times of `ticks` calls."""
    case = random_case(net, sparsity)
    arrays = observations(case, 1)
    expected = Expected(case, arrays)
    known = contenders(isa)
    runners = {}
    for name in NAMES:
        entry = enter(known[name], case, 1, arrays, expected)
        if entry.track is None:
            print(f"{name}: {entry.status}")
            continue
        variant, inputs = entry.track.variant, entry.track.wrapped
        times = {way: np.zeros(ticks, np.int64) for way in WAYS}
        late = dict.fromkeys(WAYS, 0)
        runners[name] = Runner(variant, inputs, preparation(variant, inputs), times, late)
    return runners


def preparation(variant: Variant, inputs: Sequence[Any]) -> Action:
    """What a user of `variant` can do shortly before the tick."""
    for kept in variant.keep:
        if isinstance(kept, sa.Plan):
            return kept.prefetch
    run, other = variant.run, inputs[-1]
    return lambda: run(other)


def collect(runners: dict[str, Runner], lead_ns: int, work: Action | None) -> None:
    """Fill the times of all runners and ways, in turns of up to `TURN` ticks."""
    ticks = len(next(iter(runners.values())).times["tight"])
    gc.collect()
    gc.disable()
    try:
        for start in range(0, ticks, TURN):
            for runner in runners.values():
                with runner.variant.inside():
                    for way in WAYS:
                        times = runner.times[way][start : start + TURN]
                        if way == "tight":
                            _tight(runner.variant.run, runner.inputs, times.data)
                            continue
                        ready = runner.prepare if way == "ready" else None
                        lead = 0 if way == "sleep" else lead_ns
                        runner.late[way] += _ticks(runner, times.data, lead, ready, work)
    finally:
        gc.enable()


def _tight(run: Callable[[Any], Any], inputs: Sequence[Any], times: memoryview) -> None:
    clock, size = time.perf_counter_ns, len(inputs)
    for x in inputs:
        run(x)
    for i in range(len(times)):
        x = inputs[i % size]
        start = clock()
        run(x)
        times[i] = clock() - start


def _ticks(
    runner: Runner, times: memoryview, lead: int, ready: Action | None, work: Action | None
) -> int:
    """Time one call at each tick; returns at how many the loop came late."""
    clock, sleep, run = time.perf_counter_ns, time.sleep, runner.variant.run
    inputs, size, late = runner.inputs, len(runner.inputs), 0
    tick = clock()
    for i in range(len(times)):
        x = inputs[i % size]
        if work is not None:
            work()
        tick = max(tick + PERIOD_NS, clock() + lead)
        sleep(1e-9 * max(0, tick - lead - clock()))
        if ready is not None:
            ready()
        start = clock()
        late += start > tick
        while start < tick:
            start = clock()
        run(x)
        times[i] = clock() - start
    return late


def fifo_permitted() -> bool:
    """Whether this process may run under SCHED_FIFO."""
    try:
        with scheduled("fifo"):
            return True
    except (AttributeError, OSError):
        return False


@contextmanager
def scheduled(scheduler: str) -> Iterator[None]:
    """The calling thread under SCHED_FIFO for `fifo`, as it was for `other`, and back.

    Raises:
        OSError: it is not permitted.
        AttributeError: the system has no such scheduler.
    """
    if scheduler == "other":
        yield
        return
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)


def _rows(
    runners: dict[str, Runner], net: Net, sparsity: float, scheduler: str, work: str
) -> list[Tick]:
    rows = []
    for name, runner in runners.items():
        for way, times in runner.times.items():
            head = (net.name, sparsity, scheduler, work, name, runner.variant.name, way)
            rows.append(Tick(*head, len(times), *tail(times), runner.late[way] / len(times)))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
