"""From which sparsity a sparse format wins: `python -m bench.crossover`.

Our dense, every sparse format by itself and the plan's own choice, over sparsities from 0 to 0.99.
A format that cannot follow a layer's order has no time, nor does one for which another stands in.
The rows are those of `bench.run`, in a file of their own that a killed run takes up again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import sparseagent as sa
from bench import sheet
from bench.cell import Setting
from bench.contenders import Contender, UnsupportedError, Variant, ours
from bench.grid import AUTO, DENSE, Grid, crossover, p50
from bench.machine import describe
from bench.nets import NETS, random_case
from bench.results import latest, read
from bench.run import Task, isa_name, measure, report_failures
from bench.study_plots import draw_crossover
from bench.timing import clock_cost, forward_clock_cost

SPARSITIES = (0.0, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, draw the figure, print the crossovers and the plan's worst cell."""
    parser = sheet.arguments("crossover", __doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=["M", "L", "XL"])
    parser.add_argument("--sparsities", nargs="+", type=float, default=list(SPARSITIES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=1.5, help="for each cell")
    parser.add_argument("--again", action="store_true", help="measure what is in the file, too")
    options = parser.parse_args(arguments)
    isa = isa_name(options.isa)
    machine = describe(options.core)
    setting = Setting(machine, isa, options.seconds, clock_cost(), forward_clock_cost())
    formats = next(info.formats for info in sa.kernels() if info.name == isa)
    chosen = [ours.contender("auto", isa), ours.contender("dense", isa)]
    chosen += [sparse_only(name, isa) for name in formats if name != "dense"]
    tasks = [
        Task(random_case(NETS[net], sparsity), batch, chosen)
        for net in options.nets
        for batch in options.batches
        for sparsity in options.sparsities
    ]
    failures = measure(tasks, setting, options.out, again=options.again)
    grid = Grid.of(latest(read(options.out)), isa)
    print(draw_crossover(grid, options.figures))
    for net in options.nets:
        for batch in options.batches:
            found = crossover(grid, net, "random", batch)
            print(f"{net} B={batch}: a sparse format wins from {found:.2f}")
    where, ratio = slowest_choice(grid)
    print(f"the plan's choice against dense, worst: {ratio:.3f} of dense's time at {where}")
    return report_failures([failure for failure in failures if AUTO in failure or DENSE in failure])


def sparse_only(format: str, isa: str) -> Contender:
    """One sparse format forced; it has no time where the plan lets another stand in for it.

    A format without a path for batches, or for single observations, is replaced there by another.
    """
    forced = ours.contender(format, isa)

    def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
        variants = forced.prepare(policy, batch)
        act: sa.Plan = variants[0].keep[0]
        first = act._choices[0][1]  # the regime of single observations
        used = {name for _, regime, name, _ in act._choices if (regime == first) == (batch == 1)}
        if used != {format}:
            others = ", ".join(sorted(used - {format}))
            raise UnsupportedError(f"{others} stands in for {format} here")
        return variants

    return replace(forced, prepare=prepare)


def slowest_choice(grid: Grid) -> tuple[str, float]:
    """The cell in which the plan's choice takes longest relative to dense, and time / dense's."""
    worst = ("", -math.inf)
    for cell, rows in grid.cells.items():
        ratio = p50(rows, AUTO) / p50(rows, DENSE)
        if ratio > worst[1]:
            worst = (f"{cell.net}, sparsity {cell.sparsity:g}, B={cell.batch}", ratio)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
