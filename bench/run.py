"""The full matrix in one command: `python -m bench.run`; a subset: `python -m bench.run --quick`.

Nets x sparsities x batch sizes x contenders. Rows are appended to a CSV file cell by cell; a cell
that is already there is skipped, so a killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import sparseagent as sa
from bench.cell import Setting, measure_cell
from bench.contenders import Contender, contenders
from bench.machine import describe
from bench.nets import BATCHES, NETS, SPARSITIES, Case, file_case, random_case
from bench.results import DEFAULT_CSV, Cell, Row, append, latest, read
from bench.timing import clock_cost, forward_clock_cost

QUICK_NETS, QUICK_SPARSITIES, QUICK_BATCHES = ["S", "M", "L"], [0.0, 0.9, 0.95], [1, 128]
QUICK_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix; returns 1 if one of our own contenders failed its check."""
    options = _parse(arguments)
    isa = _isa_name(options.isa)
    machine = describe(options.core)
    setting = Setting(machine, isa, options.seconds, clock_cost(), forward_clock_cost())
    chosen = _chosen(options.contenders, isa)
    cells = [
        (case, batch) for group in _cases(options) for batch in options.batches for case in group
    ]
    print(f"{machine.cpu}, core {machine.core}, isa {isa}")
    print(f"commit {machine.commit}, clock {setting.clock_ns} ns, to {options.out}")
    for contender in chosen:
        print(f"  {contender.name:<18}{contender.missing() or contender.version()}")
    failures = _run(cells, chosen, setting, options.out, options.again)
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def _run(
    cells: Sequence[tuple[Case, int]],
    chosen: Sequence[Contender],
    setting: Setting,
    out: Path,
    again: bool,
) -> list[str]:
    known = {} if again else latest(read(out))
    todo = []
    for case, batch in cells:
        there = known.get(Cell(case.net, case.source, case.sparsity, batch, setting.isa), {})
        if not all(contender.name in there for contender in chosen):
            todo.append((case, batch))
    print(f"{len(cells)} cells, {len(cells) - len(todo)} already there", flush=True)
    failures = []
    start = time.perf_counter()
    for number, (case, batch) in enumerate(todo, 1):
        rows = measure_cell(case, batch, chosen, setting)
        append(out, rows)
        left = (time.perf_counter() - start) / number * (len(todo) - number)
        label = f"{case.net} {case.sparsity:g} B={batch}"
        progress = f"[{number}/{len(todo)}, {_minutes(left)} left]"
        print(f"{progress} {label}: {_summary(rows)}", flush=True)
        failures += [
            f"{label}: {row.contender}: {row.status}"
            for row in rows
            if row.contender.startswith("sparseagent") and not row.ok
        ]
    return failures


def _summary(rows: Sequence[Row]) -> str:
    """`auto 0.92 us, dense 1.80, best peer litert 3.71; no time: torch-csr`."""
    own = [
        f"{row.contender.removeprefix('sparseagent-')} {row.p50_ns / 1000:.2f} us"
        for row in rows
        if row.ok and row.contender.startswith("sparseagent")
    ]
    peers = [row for row in rows if row.ok and not row.contender.startswith("sparseagent")]
    if peers:
        best = min(peers, key=lambda row: row.p50_ns)
        own.append(f"best peer {best.contender} {best.p50_ns / 1000:.2f} us")
    untimed = [row.contender for row in rows if not row.ok]
    return ", ".join(own) + (f"; no time: {', '.join(untimed)}" if untimed else "")


def _cases(options: argparse.Namespace) -> Iterator[list[Case]]:
    """Cases grouped so that contenders who compile per shape do so once per batch size."""
    for name in options.nets:
        yield [random_case(NETS[name], sparsity) for sparsity in options.sparsities]
    for path in options.policy:
        yield [file_case(path)]


def _isa_name(wanted: str | None) -> str:
    """The instruction set that `compile` will take, by name."""
    name = wanted or os.environ.get("SPARSEAGENT_ISA", "")
    available = [info.name for info in sa.kernels() if info.available]
    if name and name not in available:
        raise SystemExit(f"--isa: expected one of {', '.join(available)}, got {name}")
    return name or available[-1]


def _chosen(names: Sequence[str], isa: str) -> list[Contender]:
    every = contenders(isa)
    unknown = [name for name in names if name not in every]
    if unknown:
        raise SystemExit(f"--contenders: expected some of {', '.join(every)}, got {unknown}")
    return [every[name] for name in names or every]


def _minutes(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a subset of about 3 minutes")
    add("--nets", nargs="*", choices=list(NETS), help="default: all")
    add("--sparsities", nargs="+", type=float, help="fractions of zeros in [0, 1)")
    add("--batches", nargs="+", type=int, help="observations per call")
    add("--contenders", nargs="+", default=[], help="default: all; names as in the tables")
    add("--policy", nargs="+", default=[], type=Path, help="policy files to time as well")
    add("--isa", help="instruction set of sparseagent's kernels; default: the widest")
    add("--seconds", type=float, help="time spent on timing each cell; default 6")
    add("--core", type=int, help="core to run on; default: the last one")
    add("--out", type=Path, default=DEFAULT_CSV, help="CSV file to append to")
    add("--again", action="store_true", help="measure cells that are already in the file")
    options = parser.parse_args(arguments)
    quick = options.quick
    if options.nets is None:
        options.nets = QUICK_NETS if quick else list(NETS)
    options.sparsities = options.sparsities or (QUICK_SPARSITIES if quick else list(SPARSITIES))
    options.batches = options.batches or (QUICK_BATCHES if quick else list(BATCHES))
    options.seconds = options.seconds or (QUICK_SECONDS if quick else 6.0)
    return options


if __name__ == "__main__":
    raise SystemExit(main())
