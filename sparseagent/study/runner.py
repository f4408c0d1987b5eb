"""Work through the cells of a study: in several processes, across kills and restarts."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sparseagent.study.cells import Cell, Key
from sparseagent.study.table import add_row, key_of, read_table
from sparseagent.train.lock import claimed
from sparseagent.train.progress import Display, duration
from sparseagent.train.records import write_text

_DEFAULT_COST = 60.0  # seconds; where nothing like a cell is finished yet


@dataclass(frozen=True)
class Work:
    """What one process needs to know; it travels to another process.

    Attributes:
        cells: in the order in which they are done.
        csv: the table of results.
        wandb: as in `Study.wandb`.
        processes: how many work on this study, for the time left.
    """

    cells: tuple[Cell, ...]
    csv: Path
    wandb: str
    processes: int


def run_cells(work: Work) -> int:
    """Train and test every cell that has no row yet, in `work.processes` processes.

    Other commands may work on the same study at the same time.

    Returns:
        How many cells failed; `error.txt` in their folders says why.

    Raises:
        ValueError: a row of the table was made with other settings.
        BrokenProcessPool: a process was killed, for instance for want of memory.
    """
    check_settings_agree(work.cells, work.csv)
    if work.processes == 1:
        return _work(work)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(work.processes, context) as pool:
        return sum(pool.map(_work, [work] * work.processes))


def check_settings_agree(cells: Sequence[Cell], csv: Path) -> None:
    """Raise `ValueError` where a row was made with settings other than the study's."""
    wanted = {cell.key: cell for cell in cells}
    for row in read_table(csv):
        cell = wanted.get(key_of(row))
        if cell is not None and row["settings"] != cell.fingerprint:
            raise ValueError(
                f"csv: {csv} holds a row of {cell} that was made with other settings "
                f"({row['settings']}, not {cell.fingerprint}): rename the study, or delete its rows"
            )


def _work(work: Work) -> int:
    """One process: take the first cell that nobody has, until there is none."""
    import torch

    torch.set_num_threads(1)
    # Checking every distribution's arguments costs a tenth of PPO's time; NaN still ends a run,
    # where an action is drawn.
    torch.distributions.Distribution.set_default_validate_args(False)
    console = Console(width=200)
    failed = 0
    for cell in work.cells:
        if cell.key in _done(work):
            continue
        with claimed(cell.folder) as ours:
            # Somebody may have finished it between the two looks.
            if ours and cell.key not in _done(work):
                failed += not _one(work, cell, console)
    return failed


def _one(work: Work, cell: Cell, console: Console) -> bool:
    """Do one cell; whether it worked."""
    from sparseagent.study.execute import execute

    quiet = Display(Console(quiet=True))
    errors = cell.folder / "error.txt"
    began = time.monotonic()
    try:
        row = execute(cell, quiet, work.wandb)
    except Exception as error:  # one cell must not end the others
        write_text(errors, traceback.format_exc())
        why = (str(error).splitlines() or [type(error).__name__])[0]
        console.print(f"FAILED {cell}: {why} ({errors})", markup=False, highlight=False)
        return False
    errors.unlink(missing_ok=True)
    add_row(work.csv, row)
    text = f"{cell}: return {row['mean']:.1f}, {row['kept']:,} weights, "
    text += f"{duration(time.monotonic() - began)} | {progress(work.cells, work.csv)}"
    remaining = left(work.cells, read_table(work.csv)) / work.processes
    console.print(f"{text}, {duration(remaining)} left", markup=False, highlight=False)
    return True


def _done(work: Work) -> set[Key]:
    return {key_of(row) for row in read_table(work.csv)}


def progress(cells: Sequence[Cell], csv: Path) -> str:
    """How many cells have a row: `"12 of 240"`."""
    rows = {key_of(row) for row in read_table(csv)}
    return f"{sum(cell.key in rows for cell in cells)} of {len(cells)}"


def left(cells: Sequence[Cell], rows: Sequence[Mapping[str, str]]) -> float:
    """Seconds of training that are left, as finished cells of the same environment took."""
    done = {key_of(row) for row in rows}
    costs: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        costs.setdefault((row["env"], row["algo"]), []).append(float(row["seconds"]))
    means = {place: sum(found) / len(found) for place, found in costs.items()}
    usual = sum(means.values()) / len(means) if means else _DEFAULT_COST
    return sum(
        means.get((cell.config.env, cell.config.algo), usual)
        for cell in cells
        if cell.key not in done
    )
