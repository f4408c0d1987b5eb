"""What the command `sparseagent study` does: read the files, run what is missing, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparseagent.study.cells import Cell, cells_of, select_seeds
from sparseagent.study.config import Study, load_study
from sparseagent.study.report import write_report
from sparseagent.study.runner import Missing, Work, check_settings_agree, progress, run_cells
from sparseagent.study.table import key_of, read_table


@dataclass(frozen=True)
class Opened:
    """Studies that are run and reported together.

    Attributes:
        studies: in the order of the files.
        cells: all their cells, study by study.
        csv: the table of results.
        report: the report's path.
    """

    studies: tuple[Study, ...]
    cells: tuple[Cell, ...]
    csv: Path
    report: Path


def open_studies(
    files: Sequence[Path], csv: Path | None = None, report: Path | None = None
) -> Opened:
    """Read and check studies.

    Args:
        files: their YAML files.
        csv: a table instead of the one in the files.
        report: a report instead of the one in the first file.

    Raises:
        ValueError, TypeError, OSError, ImportError: a file is not as it should be; the message
            names the key.
    """
    if not files:
        raise ValueError("files: expected at least one study, got none")
    studies = tuple(load_study(path) for path in files)
    names = [study.name for study in studies]
    if len(set(names)) != len(names):
        raise ValueError(f"study: expected another name in each file, got {', '.join(names)}")
    tables = {study.csv for study in studies}
    if csv is None and len(tables) > 1:
        raise ValueError(
            f"csv: expected one table for all files, got {', '.join(sorted(map(str, tables)))}"
        )
    cells = tuple(cell for study in studies for cell in cells_of(study))
    table = studies[0].csv if csv is None else csv
    check_settings_agree(cells, table)
    return Opened(studies, cells, table, studies[0].report if report is None else report)


def run_studies(opened: Opened, processes: int, seeds: int | None = None) -> tuple[Missing, ...]:
    """Run every cell that has no row yet, study by study; gives those that have none afterwards.

    Args:
        opened: the studies.
        processes: how many cells are trained at a time.
        seeds: only the first so many seeds of each study; None for all.

    Raises:
        ValueError: an environment or a hyperparameter does not exist; nothing was trained then.
            Or the table is damaged.
        OSError: the table cannot be read or written.
    """
    if processes < 1:
        raise ValueError(f"processes: expected 1 or more, got {processes}")
    _check_environments(opened)
    missing: tuple[Missing, ...] = ()
    for study in opened.studies:
        cells = tuple(cell for cell in opened.cells if cell.study == study.name)
        work = Work(select_seeds(cells, seeds), opened.csv, study.wandb, processes)
        missing += run_cells(work)
    return missing


def _check_environments(opened: Opened) -> None:
    """Find typing errors that only the environments and algorithms know, before hours of work."""
    from sparseagent.train.agent import check_environment

    done = {key_of(row) for row in read_table(opened.csv)}
    checked = []
    for config in (cell.config for cell in opened.cells if cell.key not in done):
        alike = (config.env, config.algo, config.total_timesteps, config.hyperparameters)
        if alike not in checked:
            checked.append(alike)
            check_environment(config)


def report_studies(opened: Opened, files: Sequence[Path]) -> str:
    """Write the report; gives a line about what it covers."""
    write_report(opened.studies, opened.cells, opened.csv, opened.report, files)
    return f"{progress(opened.cells, opened.csv)} cells in {opened.csv}; report: {opened.report}"


def missing_line(missing: Sequence[Missing]) -> str:
    """One line on cells that have no row, of which there is at least one."""
    first, others = missing[0], len(missing) - 1
    more = f"; and {others} more" if others else ""
    cells = f"{len(missing)} cell{'s' * (others > 0)}"
    return f"{cells} without a row: {first}{more}. Give the same command again to try once more"
