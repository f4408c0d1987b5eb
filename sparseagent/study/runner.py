"""Work through the cells of a study: in several processes, across kills and restarts."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from sparseagent.console import open_console
from sparseagent.study.cells import Cell, Key
from sparseagent.study.table import add_row, check_row, key_of, read_table
from sparseagent.study.workers import LIVES, Killed, in_processes
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


@dataclass(frozen=True)
class Missing:
    """A cell without a row after all were tried.

    Attributes:
        cell: which.
        why: it failed, or somebody else is at it.
    """

    cell: Cell
    why: str

    def __str__(self) -> str:
        return f"{self.cell}: {self.why}"


def run_cells(work: Work) -> tuple[Missing, ...]:
    """Train and test every cell that has no row yet, in `work.processes` processes.

    Other commands may work on the same study at the same time. A process that is killed, for
    instance for want of memory, ends nothing: its cell is taken again, once. With one process, the
    cells are trained in this one.

    Returns:
        The cells that have no row; `error.txt` in the folders of those that failed says why.

    Raises:
        ValueError: the table is damaged, or a row of it was made with other settings.
        OSError: the table cannot be read or written.
    """
    check_settings_agree(work.cells, work.csv)
    done = _done(work)
    cells = [cell for cell in work.cells if cell.key not in done]
    found = _alone(work, cells) if work.processes == 1 else _together(work, cells)
    missing = tuple(Missing(cell, why) for cell, why in found if why is not None)
    done = _done(work)  # another command may have finished what was left to it
    return tuple(one for one in missing if one.cell.key not in done)


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


def _alone(work: Work, cells: Sequence[Cell]) -> Iterator[tuple[Cell, str | None]]:
    return ((cell, _try(work, cell)) for cell in cells)


def _together(work: Work, cells: Sequence[Cell]) -> Iterator[tuple[Cell, str | None]]:
    console = open_console()
    with closing(in_processes(cells, partial(_try, work), work.processes)) as outcomes:
        for cell, outcome in outcomes:
            if not isinstance(outcome, Killed):
                yield cell, outcome
            elif outcome.again:
                console.print(f"KILLED {cell}: {outcome}; it is taken again after the others")
            else:
                why = f"{outcome} {LIVES} times; if memory is short, fewer processes need less"
                yield cell, _failed(cell, why, why + "\n", console)


def _try(work: Work, cell: Cell) -> str | None:
    """Do one cell unless somebody has; None where it has a row, else the reason."""
    import torch

    torch.set_num_threads(1)
    # Checking every distribution's arguments costs a tenth of PPO's time; NaN still ends a run,
    # where an action is drawn.
    torch.distributions.Distribution.set_default_validate_args(False)
    with claimed(cell.folder) as ours:
        # Somebody may have finished it in the meantime.
        if cell.key in _done(work):
            return None
        return _one(work, cell, open_console()) if ours else "another command trains it"


def _one(work: Work, cell: Cell, console: Console) -> str | None:
    """Do one cell that is ours; None where it worked, else the reason."""
    from sparseagent.study.execute import execute

    began = time.monotonic()
    try:
        row = execute(cell, Display(quiet=True), work.wandb)
        check_row(work.csv, row)
    except Exception as error:  # one cell must not end the others
        why = (str(error).splitlines() or [type(error).__name__])[0]
        return _failed(cell, why, traceback.format_exc(), console)
    add_row(work.csv, row)
    _errors(cell).unlink(missing_ok=True)
    text = f"{cell}: return {row['mean']:.1f}, {row['kept']:,} weights, "
    text += f"{duration(time.monotonic() - began)} | {progress(work.cells, work.csv)}"
    remaining = left(work.cells, read_table(work.csv)) / work.processes
    console.print(f"{text}, {duration(remaining)} left")
    return None


def _failed(cell: Cell, why: str, details: str, console: Console) -> str:
    """Write down and say that a cell failed; gives the reason for the last line."""
    write_text(_errors(cell), details)
    told = f"{why} ({_errors(cell)})"
    console.print(f"FAILED {cell}: {told}")
    return told


def _errors(cell: Cell) -> Path:
    return cell.folder / "error.txt"


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
