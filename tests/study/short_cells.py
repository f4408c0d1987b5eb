"""Cells that take a moment and have a known outcome, in place of trainings."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sparseagent.study.table import COLUMNS


def outcome(cell):
    """The row of a cell, a function of the cell alone."""
    known = dict.fromkeys(COLUMNS, 1) | dict(zip(COLUMNS, cell.key, strict=False))
    return known | {
        "sparsity": f"{cell.sparsity:g}",
        "mean": 10.0 * cell.seed + cell.sparsity,
        "random": 0.0,
        "kept": 10,
        "effective": 9,
        "full": 100,
        "actor_sparsity": 0.9,
        "critic_sparsity": None,
        "different_actions": 0,
        "settings": cell.fingerprint,
        "resumed": False,
    }


def execute(cell, display, wandb):
    """In place of `sparseagent.study.execute.execute`."""
    with Path("attempts.txt").open("a") as stream:
        stream.write(f"{os.getpid()} {cell}\n")
    deadly = os.environ.get("DEADLY_CELL")
    if deadly and deadly in str(cell):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.15)
    return outcome(cell)
