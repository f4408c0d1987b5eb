"""Checkpoints inside a training stage: the newest two, each with a hash of every file in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sparseagent.train.folder import FolderError
from sparseagent.train.records import hashes, read_json, unlike, write_json

_FACTS = "facts.json"
_KEPT = 2


def save_checkpoint(
    root: Path, timesteps: int, write: Callable[[Path], None], facts: Mapping[str, Any]
) -> None:
    """Write a checkpoint; it and the one before are kept.

    Args:
        root: the stage's folder of checkpoints.
        timesteps: environment steps done; names the checkpoint.
        write: fills the folder that it is given.
        facts: a few numbers about it; written last, with the hashes: without them it does not
            count.
    """
    target = root / f"step_{timesteps:012d}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    write(target)
    files = hashes(target, sorted(target.iterdir()))
    write_json(target / _FACTS, {"timesteps": timesteps, **facts, "files": files})
    complete = sorted(path.parent for path in root.glob(f"step_*/{_FACTS}"))
    for other in root.glob("step_*"):
        if other not in complete[-_KEPT:]:
            shutil.rmtree(other, ignore_errors=True)


def newest_checkpoint(
    root: Path, say: Callable[[str], None] | None = None, *, trust: bool = False
) -> Path | None:
    """The newest whole checkpoint; None where there is none at all.

    Args:
        root: the stage's folder of checkpoints.
        say: told of a damaged checkpoint that is passed over.
        trust: take checkpoints whose files do not match their hashes.

    Raises:
        FolderError: there are checkpoints, and all are damaged.
    """
    damages: list[str] = []
    for facts in sorted(root.glob(f"step_*/{_FACTS}"), reverse=True):
        damage = _damage(facts, trust=trust)
        if damage is None:
            if damages and say is not None:
                say(f"{'; '.join(damages)}; going on from the checkpoint before")
            return facts.parent
        damages.append(damage)
    if damages:
        raise FolderError(
            f"out: expected a whole checkpoint in {root}, got {'; '.join(damages)}: delete that "
            "folder to train this agent anew, or start all anew with --overwrite"
        )
    return None


def drop_checkpoints(root: Path) -> None:
    """Forget all checkpoints of a finished stage."""
    shutil.rmtree(root, ignore_errors=True)


def _damage(facts: Path, *, trust: bool) -> str | None:
    """What is wrong with a checkpoint; None where it is whole."""
    name = f"checkpoint {facts.parent.name}"
    try:
        content = read_json(facts)
        recorded, *_ = (content[key] for key in ("files", "seconds", "inexact", "unsaved"))
        wrong = [] if trust else unlike(facts.parent, recorded)
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{name} is damaged ({_FACTS})"
    return f"{name} is damaged ({', '.join(wrong)})" if wrong else None
