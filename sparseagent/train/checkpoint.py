"""Checkpoints inside a training stage: complete or absent, the newest one counts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from sparseagent.train.records import write_text

_NEWEST = "newest"


def save_checkpoint(root: Path, timesteps: int, write: Callable[[Path], None]) -> None:
    """Write a checkpoint and forget the older ones.

    Args:
        root: the stage's folder of checkpoints.
        timesteps: environment steps done; names the checkpoint.
        write: fills the folder that it is given.
    """
    root.mkdir(parents=True, exist_ok=True)
    name = f"step_{timesteps:012d}"
    target = root / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    write(target)
    # Only now does the new one count; a process killed before this line resumes from the old one.
    write_text(root / _NEWEST, name)
    for other in root.glob("step_*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)


def newest_checkpoint(root: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    pointer = root / _NEWEST
    if not pointer.exists():
        return None
    checkpoint = root / pointer.read_text().strip()
    return checkpoint if checkpoint.is_dir() else None


def drop_checkpoints(root: Path) -> None:
    """Forget all checkpoints of a finished stage."""
    shutil.rmtree(root, ignore_errors=True)
