"""Each goal against what was measured: `python -m bench.goals`.

Reads the CSV files of `bench.run` and of the single studies, prints the table and writes it to
`bench/results/goals.md`. The goals are data in `bench/goal_table.py`. Where a goal covers several
cells the worst one counts and is named.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import goal_table, sheet
from bench.crossover import slowest_choice
from bench.goal_table import Limit, Selection
from bench.grid import AUTO, DENSE, Grid, best_peer, crossover, p50
from bench.results import RESULTS, Row, latest, read
from bench.tables import table

Rows = dict[str, Row]
#: `(number, where or against whom)` of one cell; NaN where it was not measured.
Figure = tuple[float, str]


@dataclass(frozen=True)
class Verdict:
    """One line of the table.

    Attributes:
        goal: what is asked for.
        target: the number, as text.
        measured: the worst number, where, and against whom.
        reached: None where something was not measured and the rest would do.
    """

    goal: str
    target: str
    measured: str
    reached: bool | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.goals", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the CSV files")
    options = parser.parse_args(arguments)
    found = verdicts(options.results)
    text = f"# Goals\n\nWritten by `python -m bench.goals`.\n\n{as_table(found)}\n"
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "goals.md").write_text(text, encoding="utf-8")
    print(text)
    counts = [sum(v.reached is kind for v in found) for kind in (True, False, None)]
    print(f"{counts[0]} reached, {counts[1]} not reached, {counts[2]} not fully measured")
    return 0


def verdicts(results: Path) -> list[Verdict]:
    """Every goal, in the order of the data."""
    cells = latest(read(results / "results.csv"))
    grids = {isa: Grid.of(cells, isa) for isa in sorted({cell.isa for cell in cells})}
    widest = max(grids, key=lambda isa: len(grids[isa].cells)) if grids else ""
    grids[""] = grids.get(widest, Grid({}, ""))
    main_grid = grids[""]
    return [
        *_speeds(grids),
        *_shares(main_grid),
        *_dense(main_grid),
        *_crossovers(results),
        *(_limit(limit, results) for limit in goal_table.LIMITS),
    ]


def as_table(found: Sequence[Verdict]) -> str:
    """The verdicts in Markdown."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    lines = [[v.goal, v.target, v.measured, words[v.reached]] for v in found]
    return table(["goal", "target", "measured (worst)", "reached"], lines)


def _speeds(grids: dict[str, Grid]) -> Iterator[Verdict]:
    for goal in goal_table.SPEEDS:
        grid = grids.get(goal.isa, Grid({}, goal.isa))
        for target, over, text in (
            (goal.over_dense, _over_dense, "our dense"),
            (goal.over_peer, _over_peer, "the best peer"),
        ):
            if target is not None:
                title = f"{_label(goal.where)}{goal.isa and f', {goal.isa}'}: against {text}"
                figures = _figures(grid, goal.where, over)
                yield judge(title, target, figures, lambda x: f"{x:.2f}x")


def _shares(grid: Grid) -> Iterator[Verdict]:
    for goal in goal_table.SHARES:
        figures = _figures(grid, goal.where, _peak_share)
        title = f"{_label(goal.where)}: share of the FMA peak on nonzeros"
        yield judge(title, goal.share, figures, lambda x: f"{x:.0%}")


def _dense(grid: Grid) -> Iterator[Verdict]:
    where = goal_table.DENSE
    figures = _figures(grid, where, _dense_over_peer)
    title = f"our dense, {_label(where)}: against the best dense peer"
    yield judge(title, goal_table.DENSE_OVER_PEER, figures, lambda x: f"{x:.2f}x")
    figures = _figures(grid, where, lambda rows: (_stored_share(rows), ""))
    title = f"our dense, {_label(where)}: share of the FMA peak"
    yield judge(title, goal_table.DENSE_SHARE, figures, lambda x: f"{x:.0%}")


def _crossovers(results: Path) -> Iterator[Verdict]:
    cells = latest(read(results / "crossover.csv"))
    grid = Grid.of(cells, None) if cells else Grid({}, "")
    nets = [net for net, source in grid.nets if source == "random"]
    for batch, target in goal_table.CROSSOVERS.items():
        figures = [(crossover(grid, net, "random", batch), net) for net in nets]
        title = f"crossover against our dense, batch {batch}"
        yield judge(title, target, figures, lambda x: f"{x:.2f}", at_most=True)
    where, ratio = slowest_choice(grid)
    figures = [(ratio, where)] if where else []
    title = "time of the plan's choice relative to our dense, any sparsity"
    yield judge(title, goal_table.SLOWEST, figures, lambda x: f"{x:.3f}", at_most=True)


def _limit(limit: Limit, results: Path) -> Verdict:
    figures = []
    for row in sheet.read(results / f"{limit.study}.csv"):
        inside = all(low <= float(row[name]) <= high for name, low, high in limit.rows)
        if inside and row[limit.column] and limit.net in ("", row["net"]):
            where = row["net"] + (f" B={row['batch']}" if "batch" in row else "")
            figures.append((float(row[limit.column]), where))

    def text(x: float) -> str:
        return f"{x:.3g}{limit.unit}" if abs(x) < 1000 else f"{x:.0f}{limit.unit}"

    return judge(limit.text, limit.value, figures, text, at_most=limit.at_most)


def judge(
    title: str,
    target: float,
    figures: Sequence[Figure],
    text: Callable[[float], str],
    *,
    at_most: bool = False,
) -> Verdict:
    """The worst of `figures` against `target`.

    Args:
        title: the goal.
        target: the number to reach.
        figures: one number per cell, NaN where it was not measured.
        text: how to write a number.
        at_most: whether numbers may be at most `target`, or at least.
    """
    known = [figure for figure in figures if not math.isnan(figure[0])]
    bound = f"{'at most' if at_most else 'at least'} {text(target)}"
    if not known:
        return Verdict(title, bound, "-", None)
    worst, where = max(known) if at_most else min(known)
    good = worst <= target if at_most else worst >= target
    measured = f"{text(worst)} ({where})" if where else text(worst)
    missing = len(figures) - len(known)
    if missing:
        measured += f"; {missing} of {len(figures)} not measured"
    return Verdict(title, bound, measured, None if good and missing else good)


def _figures(grid: Grid, where: Selection, number: Callable[[Rows], Figure]) -> list[Figure]:
    found = []
    for net in where.nets:
        for sparsity in where.sparsities:
            for batch in where.batches:
                rows = dict(grid.cell(net, where.source, round(sparsity, 4), batch))
                value, against = number(rows)
                place = f"{net} {sparsity:g} B={batch}"
                found.append((value, f"{place}, {against}" if against else place))
    return found


def _over_dense(rows: Rows) -> Figure:
    return p50(rows, DENSE) / p50(rows, AUTO), ""


def _over_peer(rows: Rows) -> Figure:
    peer = best_peer(rows)
    return (math.nan, "") if peer is None else (peer.p50_ns / p50(rows, AUTO), peer.contender)


def _dense_over_peer(rows: Rows) -> Figure:
    peer = best_peer(rows, dense_only=True)
    return (math.nan, "") if peer is None else (peer.p50_ns / p50(rows, DENSE), peer.contender)


def _peak_share(rows: Rows) -> Figure:
    row = rows.get(AUTO)
    return (row.peak_share if row is not None and row.ok else math.nan), ""


def _stored_share(rows: Rows) -> float:
    row = rows.get(DENSE)
    return row.peak_share_stored if row is not None and row.ok else math.nan


def _label(where: Selection) -> str:
    """`M, 0.9, batch 32 to 2048`."""

    def span(values: Sequence[float]) -> str:
        return f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"

    mask = "" if where.source == "random" else f" {where.source}"
    nets = " ".join(where.nets)
    return f"{nets}{mask}, {span(where.sparsities)}, batch {span(where.batches)}"


if __name__ == "__main__":
    raise SystemExit(main())
