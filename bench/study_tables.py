"""The report's sections about the single studies, from the CSV files beside the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bench import sheet, tables
from bench.crossover import slowest_choice
from bench.grid import Grid
from bench.results import latest, read
from bench.tables import table
from bench.tails import FIRST, worst_rises


def sections(folder: Path) -> dict[str, str]:
    """Title -> Markdown; a study without a file says which command makes it."""
    makers: Mapping[str, tuple[str, Callable[[Path], str]]] = {
        "Crossover": ("crossover", crossover),
        "Trained policies": ("trained", trained),
        "Every batch size": ("tails", tails),
        "Jitter and cold calls": ("jitter", jitter),
        "A control loop": ("tick", tick),
        "Two threads": ("threads", threads),
        "Two threads beside a busy neighbour": ("neighbour", neighbour),
        "New weights in place": ("update", update),
        "Foreign orders": ("orders", orders),
        "What a call costs": ("call_overhead", call_overhead),
    }
    return {
        title: make(folder / f"{name}.csv")
        if (folder / f"{name}.csv").exists()
        else f"Not measured: `python -m bench.{name}`."
        for title, (name, make) in makers.items()
    }


def crossover(path: Path) -> str:
    """Where sparse formats begin to win, and how close the plan's choice stays to dense."""
    grid = Grid.of(latest(read(path)), None)
    where, ratio = slowest_choice(grid)
    return (
        f"Against our dense; sparsities interpolated.\n\n{tables.crossovers(grid)}\n\n"
        f"The plan's choice takes at most {ratio:.3f} of dense's time ({where})."
    )


def trained(path: Path) -> str:
    """The plan's choice on trained policies against our dense and the best peer."""
    return "The plan's choice against our dense, then against the best peer.\n\n" + tables.speedups(
        Grid.of(latest(read(path)), None)
    )


def orders(path: Path) -> str:
    """What it costs to run an order that was made for other lanes."""
    lines = [
        [row["net"], row["runs_on"], row["order"], row["p50_ns"], f"{float(row['ratio']):.2f}x"]
        for row in sheet.read(path)
    ]
    head = table(["net", "runs on", "order", "ns", "against its own order"], lines)
    return f"One observation. Every instruction set runs every order with the same bits.\n\n{head}"


def tails(path: Path) -> str:
    """The largest rise of the time per observation from one batch size to the next."""
    lines = [
        [net, f"B={batch - 1} to {batch}", f"{rise:+.1%}"]
        for net, (batch, rise) in worst_rises(sheet.read(path)).items()
    ]
    head = table(["net", f"largest rise above {FIRST}", "ns per observation"], lines)
    return f"One plan per net, every batch size up to 80 and some above.\n\n{head}"


def jitter(path: Path) -> str:
    """Percentiles of single calls."""
    names = ("p50_ns", "p99_ns", "p999_ns", "max_ns")
    lines = [
        [
            f"{row['net']} {row['mode']} {row['contender']}",
            row["calls"],
            *(f"{float(row[name]):,.0f}" if row[name] else "-" for name in names),
        ]
        for row in sheet.read(path)
    ]
    return (
        "Ns per call, Python and the clock included (`nothing` is an empty function). Cold: four "
        "times the L2 cache was written before each call.\n\n"
        + table(["", "calls", "p50", "p99", "p99.9", "largest"], lines)
    )


def tick(path: Path) -> str:
    """One call in a loop of 1 kHz: a line for each contender and way, a column per scheduler."""
    rows = sheet.read(path)
    names = ("p50_ns", "p99_ns", "p999_ns", "max_ns")
    schedulers = list(dict.fromkeys(row["scheduler"] for row in rows))
    cells = {}
    for row in rows:
        line = (row["net"], row["work"], row["contender"], row["way"])
        text = " / ".join(f"{float(row[name]) / 1e3:.2f}" if row[name] else "-" for name in names)
        cells[line, row["scheduler"]] = text
    lines = [
        [*line, *(cells.get((line, scheduler), "-") for scheduler in schedulers)]
        for line in dict.fromkeys(line for line, _ in cells)
    ]
    head = ["net", "work", "contender", "way", *(f"SCHED_{name.upper()}" for name in schedulers)]
    return (
        "Microseconds of one call at a tick of 1 kHz, Python and the clock included: p50 / p99 / "
        "p99.9 / largest. What the ways and works are: `bench/README.md`.\n\n" + table(head, lines)
    )


def threads(path: Path) -> str:
    """Speed of two threads against one."""
    rows = sheet.read(path)
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    lines = []
    for net in dict.fromkeys(row["net"] for row in rows):
        own = {row["batch"]: float(row["speedup"]) for row in rows if row["net"] == net}
        lines.append([net, *(f"{own[b]:.2f}x" if b in own else "-" for b in batches)])
    return table(["two threads against one", *(f"B={b}" for b in batches)], lines)


def neighbour(path: Path) -> str:
    """Median and tail of one thread and of two, with and without a busy second core."""
    lines = [
        [
            f"{row['net']} {row['sparsity']} B={row['batch']}",
            "busy" if row["neighbour"] == "1" else "idle",
            *(
                f"{float(row[name]) / 1e3:.1f}"
                for name in ("one_ns", "two_ns", "one_p99_ns", "two_p99_ns")
            ),
        ]
        for row in sheet.read(path)
    ]
    head = ["us", "second core", "median, 1 thread", "2 threads", "p99, 1 thread", "2 threads"]
    return table(head, lines)


def update(path: Path) -> str:
    """`plan.update` against copying."""
    lines = [
        [
            row["net"],
            row["nonzeros"],
            *(f"{float(row[name]) / 1e3:.2f}" for name in ("update_ns", "copy_ns")),
            f"{float(row['ratio']):.2f}x",
        ]
        for row in sheet.read(path)
    ]
    return table(["net", "weights", "plan.update, us", "copying, us", "ratio"], lines)


def call_overhead(path: Path) -> str:
    """Calls from Python over the forward in C++."""
    names = ("forward_ns", "into_ns", "returning_ns", "predict_ns")
    lines = [
        [row["net"], *(f"{float(row[name]):.0f}" for name in names)] for row in sheet.read(path)
    ]
    head = ["ns", "C++ forward", "act(obs, out): more", "act(obs): more", "predict: more"]
    return table(head, lines)
