"""What all commands share: the app, answers to bad input, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from sparseagent.console import open_console

__all__ = ["app", "friendly_errors", "open_console", "print_table"]

app = typer.Typer(
    name="sparseagent",
    help="Train, prune, convert, compile and compare deep-RL agents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Bad input is answered with one line and exit code 2, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        open_console(error=True).print(f"error: {error}", style="bold red")
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
    console.print(table, soft_wrap=False)
