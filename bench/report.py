"""Tables and plots from the measured rows: `python -m bench.report`.

Writes `bench/results/report.md` (everything), `bench/results/summary.md` (the README's table) and
the PNGs of the matrix in `bench/figures/`. Times are taken from the CSV files alone, those of the
single studies from beside the rows; nothing is measured here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from bench import study_tables, tables
from bench.grid import Grid
from bench.plots import draw_all
from bench.results import DEFAULT_CSV, FIGURES, latest, read


def main(arguments: Sequence[str] | None = None) -> int:
    """Write report, summary and figures; returns 1 if there are no rows."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--csv", type=Path, default=DEFAULT_CSV, help="rows of bench.run")
    parser.add_argument("--isa", help="default: the one with the most cells")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="folder for the PNGs")
    options = parser.parse_args(arguments)
    rows = read(options.csv)
    if not rows:
        print(f"no rows in {options.csv}: run python -m bench.run first")
        return 1
    grid = Grid.of(latest(rows), options.isa)
    drawn = draw_all(grid, options.figures)
    # The figure of a single study is called like its table; others in the folder show learning.
    studies = sorted(options.csv.parent.glob("*.csv"))
    pictures = [options.figures / f"{table.stem}.png" for table in studies]
    figures = [*drawn, *(path for path in pictures if path.exists())]
    report, summary = (options.csv.parent / name for name in ("report.md", "summary.md"))
    report.write_text(text(grid, figures, report.parent), encoding="utf-8")
    summary.write_text(tables.summary(grid) + "\n", encoding="utf-8")
    for path in (report, summary, *figures):
        print(path)
    return 0


def text(grid: Grid, figures: Sequence[Path], folder: Path) -> str:
    """The whole report; figures are linked relative to `folder`."""
    sections = {
        "": "Written by `python -m bench.report` from the rows of `python -m bench.run`. One "
        "thread, float32, called from Python with preallocated arrays, medians. Ratios within "
        "one run count; absolute times do not travel. How it measures: `bench/README.md`.",
        "Machine and versions": tables.facts(grid),
        "One observation": tables.summary(grid),
        "How many times faster": "The plan's own choice (`sparseagent-auto`) against our dense, "
        "then against the best peer of any kind, which is named. Lines: batch size; columns: "
        "sparsity.\n\n" + tables.speedups(grid),
        "Where we lose": tables.losses(grid),
        **study_tables.sections(folder),
        "Arithmetic": "GFLOP/s of the plan's choice on nonzeros and share of the FMA peak, "
        "call included.\n\n" + tables.peak_shares(grid),
        "Figures": "\n\n".join(
            f"![{path.stem}]({Path(os.path.relpath(path, folder)).as_posix()})" for path in figures
        ),
        "All times": "Microseconds per call, median (99th percentile).\n\n"
        + tables.all_times(grid),
        "Without a time": tables.without_time(grid),
    }
    parts = ["# Benchmark results"]
    for title, body in sections.items():
        parts += [f"## {title}", body] if title else [body]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
