"""One process at a time in a run folder: the lock of runs, searches and studies."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claim a run folder; yields whether it is ours.

    A lock on the file `.<name>.lock` beside the folder, which the system drops when the process
    ends, however it ends: a killed process leaves nothing behind that would have to be cleared
    away. The file says who holds it.
    """
    lock = _lock_file(folder)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        stream.truncate(0)
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        stream.write(f"process {os.getpid()} on {socket.gethostname()} since {since}")
        stream.flush()
        yield True


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Claim a run folder, or say who has it.

    Raises:
        ValueError: another process works in it.
    """
    with claimed(folder) as ours:
        if not ours:
            holder = _lock_file(folder).read_text() or "another process"
            raise ValueError(
                f"out: expected a folder that nobody works in, got {folder}, held by {holder}; "
                "wait for it to end, or choose another folder"
            )
        yield


def _lock_file(folder: Path) -> Path:
    whole = folder.resolve()
    return whole.with_name(f".{whole.name}.lock")
