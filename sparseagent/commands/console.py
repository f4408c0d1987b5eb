"""What all commands share: the app, its console, answers to bad input, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    name="sparseagent",
    help="Train, prune, convert, compile and compare deep-RL agents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def open_console(*, error: bool = False) -> Console:
    """The console, or the one for errors."""
    console = Console(stderr=error)
    # A pipe has no width; 80 columns would break the tables.
    return console if console.is_terminal else Console(stderr=error, width=120)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Bad input is answered with one line and exit code 2, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        open_console(error=True).print(f"error: {error}", style="bold red", markup=False)
        raise typer.Exit(2) from error


def print_table(
    console: Console, header: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1
) -> None:
    """Print a table; the first `left` columns are set left, the others right."""
    table = Table(header_style="bold")
    for number, title in enumerate(header):
        table.add_column(title, justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)
