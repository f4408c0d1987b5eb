"""export: a policy as one C99 file, for programs and microcontrollers without Python."""

from __future__ import annotations

from pathlib import Path

from sparseagent.export.source import CSource, c_source
from sparseagent.policy import SparsePolicy
from sparseagent.policyfile import write

__all__ = ["CSource", "c_source", "export_c"]


def export_c(policy: SparsePolicy, path: str | Path, *, name: str | None = None) -> CSource:
    """Write `policy` as one C99 file, and its header beside it.

    The file needs no C library and no heap: weights are constants, `<name>_forward` and
    `<name>_act` work on the stack and may be called from many threads. Their bits are those of the
    plan, with a fused multiply-add in hardware or without. The deterministic action is computed.

    Args:
        policy: what to write.
        path: the C file, which ends in `.c`; the header ends in `.h` instead.
        name: what every name in it begins with; None takes the file's name without its end.

    Raises:
        ValueError: `path` does not end in `.c`, C takes no such name, or the policy holds an op
            that has no C text; the message names it.
        TypeError: `policy` is not a `SparsePolicy`.
    """
    if not isinstance(policy, SparsePolicy):
        raise TypeError(f"policy: expected a SparsePolicy, got {type(policy).__name__}")
    target = Path(path)
    if target.suffix != ".c":
        raise ValueError(f"path: expected a name that ends in .c, got {target.name!r}")
    source = c_source(policy, target.stem if name is None else name)
    write(source.source.encode(), target)
    write(source.header.encode(), target.with_suffix(".h"))
    return source
