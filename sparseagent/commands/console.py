"""What all commands share: the app, answers to bad input, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sparseagent.console import open_console

__all__ = [
    "AsJson",
    "app",
    "friendly_errors",
    "open_console",
    "print_json",
    "print_table",
    "resumable",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs to read.")]

app = typer.Typer(
    name="sparseagent",
    help="Train, prune, convert, compile and compare deep-RL agents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from sparseagent import __version__

        print(f"sparseagent {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Train, prune, convert, compile and compare deep-RL agents."""


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Bad input is answered with one line and exit code 2, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        open_console(error=True).print(f"error: {error}", style="bold red")
        raise typer.Exit(2) from error


@contextmanager
def resumable() -> Iterator[None]:
    """Say what to do after an interruption."""
    try:
        yield
    except KeyboardInterrupt:
        open_console(error=True).print("interrupted; the same command goes on from here")
        raise


def print_table(
    console: Console, header: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1
) -> None:
    """Print a table, `left` columns of it set left, the others right; a pipe gets no frame."""
    frame = box.HEAVY_HEAD if console.is_terminal else None
    table = Table(header_style="bold", box=frame, pad_edge=frame is not None)
    for number, title in enumerate(header):
        table.add_column(title, justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table, soft_wrap=False)


def print_json(facts: Any) -> None:
    """Print `facts` as JSON on the standard output; NumPy's numbers and paths are written too."""
    json.dump(facts, sys.stdout, indent=2, default=_plain)
    print()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
