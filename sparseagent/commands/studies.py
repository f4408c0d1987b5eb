"""The command on studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparseagent.commands.console import app, friendly_errors, open_console, resumable


@app.command()
def study(
    *,
    files: Annotated[list[Path], typer.Argument(help="YAML files, see bench/studies/.")],
    processes: Annotated[
        int, typer.Option(help="Trainings at a time, each on one thread.", min=1)
    ] = 1,
    seeds: Annotated[
        int | None, typer.Option(help="Only the first so many seeds of each study.", min=1)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="The table of results. Default: the one in the file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The report. Default: the one in the first file.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write the report from the table alone; run nothing.")
    ] = False,
) -> None:
    """Train and test many agents: environments x algorithms x methods x sparsities x seeds.

    Give the same command again to go on after an interruption: what has a row in the table is not
    run again. Several commands may work on one study at a time. With several processes, one
    that is killed ends nothing: its cell is trained again. Exit code 1: a cell has no row.

    Example: sparseagent study bench/studies/tier_a.yaml --processes 4
    """
    from sparseagent.study.command import (
        missing_line,
        open_studies,
        report_studies,
        run_studies,
    )

    console = open_console()
    with friendly_errors(), resumable():
        opened = open_studies(files, csv, out)
        missing = () if report else run_studies(opened, processes, seeds)
        told = report_studies(opened, files)
    console.print(told)
    if missing:
        open_console(error=True).print(f"error: {missing_line(missing)}", style="bold red")
        raise typer.Exit(1)
