"""The CSV files of single studies: a few columns of numbers, then where they were measured."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.machine import Machine, load_average
from bench.results import FIGURES, RESULTS


def arguments(module: str, documentation: str | None) -> argparse.ArgumentParser:
    """The options that every study has."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{module}", description=documentation)
    parser.add_argument("--isa", help="instruction set of sparseagent; default: the widest")
    parser.add_argument("--core", type=int, help="core to run on; default: the last one")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{module}.csv", help="CSV to write")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="folder for the PNG")
    return parser


def write(path: Path, rows: Sequence[Any], machine: Machine, isa: str) -> None:
    """Write `rows`, dataclasses of one type, each with the machine, the load and the time.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("rows: expected at least one, got none")
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = {
        "isa": isa,
        "load": f"{load_average():.2f}",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **dataclasses.asdict(machine),
    }
    with path.open("w", newline="", encoding="utf-8") as file:
        names = [field.name for field in dataclasses.fields(rows[0])]
        writer = csv.DictWriter(file, [*names, *origin], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            numbers = {name: _text(value) for name, value in dataclasses.asdict(row).items()}
            writer.writerow({**numbers, **origin})


def read(path: Path) -> list[Mapping[str, str]]:
    """The rows of a file that `write` wrote, as text; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def note(rows: Sequence[Mapping[str, str]]) -> str:
    """Where the rows were measured, for a figure."""
    return " / ".join(dict.fromkeys(f"{row['cpu']}; {row['isa']}" for row in rows))


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
