"""The full matrix in one command: `python -m bench.run`; a subset: `python -m bench.run --quick`.

Nets x masks x sparsities x batch sizes x contenders; `--goals` measures the cells that the goals
ask for and no others. Rows are appended to a CSV file cell by cell; a cell that is there already,
measured on this CPU at this commit, is skipped: a killed run goes on where it stopped. `--minutes`
spreads the time over what is left.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sparseagent as sa
from bench.cell import Setting, measure_cell
from bench.contenders import Contender, contenders
from bench.goal_table import SELECTION, Selection
from bench.machine import describe
from bench.masks import PATTERNS
from bench.nets import BATCHES, NETS, SPARSITIES, Case, file_case, random_case
from bench.results import DEFAULT_CSV, Cell, Row, append, latest, read
from bench.timing import clock_cost, forward_clock_cost

QUICK_NETS, QUICK_SPARSITIES, QUICK_BATCHES = ["S", "M", "L"], [0.0, 0.9, 0.95], [1, 128]
QUICK_SECONDS, SECONDS = 2.0, 6.0
#: With `--minutes` no cell is timed for less, nor for more than `SECONDS`.
LEAST_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix; returns 1 if one of our own contenders failed its check."""
    options = _parse(arguments)
    isa = isa_name(options.isa)
    machine = describe(options.core)
    setting = Setting(machine, isa, options.seconds, clock_cost(), forward_clock_cost())
    chosen = choose(options.contenders, isa)
    tasks = list(_tasks(options, chosen))
    print(f"{machine.cpu}, core {machine.core}, isa {isa}")
    print(f"commit {machine.commit}, clock {setting.clock_ns} ns, to {options.out}")
    for contender in chosen:
        print(f"  {contender.name:<18}{contender.missing() or contender.version()}")
    return report_failures(
        measure(tasks, setting, options.out, again=options.again, minutes=options.minutes)
    )


def report_failures(failures: Sequence[str]) -> int:
    """Print what failed; the exit status."""
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


@dataclass(frozen=True, eq=False)
class Task:
    """One cell to measure.

    Attributes:
        case: the policy.
        batch: observations per call.
        contenders: who takes part.
    """

    case: Case
    batch: int
    contenders: Sequence[Contender]

    @property
    def label(self) -> str:
        """`M random 0.9 B=32`."""
        return f"{self.case.net} {self.case.source} {self.case.sparsity:g} B={self.batch}"


def measure(
    tasks: Sequence[Task],
    setting: Setting,
    out: Path,
    *,
    again: bool = False,
    minutes: float | None = None,
) -> list[str]:
    """Measure every task that is not in the file yet and append its rows.

    Rows of another CPU or commit do not count: they say nothing about this machine and these
    sources.

    Args:
        tasks: the cells.
        setting: what the run keeps fixed; its `seconds` are those of each cell.
        out: CSV file of `Row`s.
        again: measure what is in the file, too.
        minutes: time for everything, spread over the cells in place of `seconds`.

    Returns:
        What of our own failed its check.
    """
    known = {} if again else latest(read(out))
    todo = [task for task in tasks if not _measured(task, known, setting)]
    print(f"{len(tasks)} cells, {len(tasks) - len(todo)} already there", flush=True)
    failures = []
    start, timed = time.perf_counter(), 0.0
    for number, task in enumerate(todo):
        if minutes is not None:
            spent = time.perf_counter() - start
            left = (60.0 * minutes - spent) / (len(todo) - number)
            other = (spent - timed) / number if number else left / 2
            setting = replace(setting, seconds=min(max(left - other, LEAST_SECONDS), SECONDS))
        rows = measure_cell(task.case, task.batch, task.contenders, setting)
        append(out, rows)
        timed += setting.seconds
        left = (time.perf_counter() - start) / (number + 1) * (len(todo) - number - 1)
        progress = f"[{number + 1}/{len(todo)}, {_minutes(left)} left]"
        print(f"{progress} {task.label}: {_summary(rows)}", flush=True)
        failures += [
            f"{task.label}: {row.contender}: {row.status}"
            for row in rows
            if row.contender.startswith("sparseagent") and not row.ok
        ]
    return failures


def _measured(task: Task, known: Mapping[Cell, Mapping[str, Row]], setting: Setting) -> bool:
    case, machine = task.case, setting.machine
    there = known.get(Cell(case.net, case.source, case.sparsity, task.batch, setting.isa), {})
    ours = (machine.cpu, machine.commit)
    return all(
        (row := there.get(contender.name)) is not None and (row.cpu, row.commit) == ours
        for contender in task.contenders
    )


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


def _tasks(options: argparse.Namespace, chosen: Sequence[Contender]) -> Iterator[Task]:
    """Cells grouped so that contenders who compile per shape do so once per batch size."""
    selections: Sequence[Selection] = SELECTION
    if not options.goals:
        sparsities, batches = tuple(options.sparsities), tuple(options.batches)
        selections = [
            Selection(tuple(options.nets), pattern, sparsities, batches)
            for pattern in options.pattern
        ]
    own = [contender for contender in chosen if contender.name.startswith("sparseagent")]
    for part in selections:
        who = chosen if part.peers else own
        for name in part.nets:
            cases = [random_case(NETS[name], s, pattern=part.source) for s in part.sparsities]
            yield from (Task(case, batch, who) for batch in part.batches for case in cases)
    for path in options.policy:
        case = file_case(path)
        yield from (Task(case, batch, chosen) for batch in options.batches)


def isa_name(wanted: str | None) -> str:
    """The instruction set that `compile` will take, by name."""
    name = wanted or os.environ.get("SPARSEAGENT_ISA", "")
    available = [info.name for info in sa.kernels() if info.available]
    if name and name not in available:
        raise SystemExit(f"--isa: expected one of {', '.join(available)}, got {name}")
    return name or available[-1]


def choose(names: Sequence[str], isa: str) -> list[Contender]:
    """The contenders of these names, all if there are none."""
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
    add("--pattern", nargs="+", choices=list(PATTERNS), default=["random"], help="kinds of masks")
    add("--goals", action="store_true", help="the cells of the goals instead of the matrix")
    add("--batches", nargs="+", type=int, help="observations per call")
    add("--contenders", nargs="+", default=[], help="default: all; names as in the tables")
    add("--policy", nargs="+", default=[], type=Path, help="policy files to time as well")
    add("--isa", help="instruction set of sparseagent's kernels; default: the widest")
    add("--seconds", type=float, help="time spent on timing each cell; default 6")
    add("--minutes", type=float, help="time for the whole run, spread over its cells")
    add("--core", type=int, help="core to run on; default: the last one")
    add("--out", type=Path, default=DEFAULT_CSV, help="CSV file to append to")
    add("--again", action="store_true", help="measure what is in the file, too")
    options = parser.parse_args(arguments)
    quick = options.quick
    if options.nets is None:
        options.nets = QUICK_NETS if quick else list(NETS)
    options.sparsities = options.sparsities or (QUICK_SPARSITIES if quick else list(SPARSITIES))
    options.batches = options.batches or (QUICK_BATCHES if quick else list(BATCHES))
    options.seconds = options.seconds or (QUICK_SECONDS if quick else SECONDS)
    if options.goals and options.nets != list(NETS):
        parser.error("--goals: expected no --nets beside it, the goals name theirs")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
