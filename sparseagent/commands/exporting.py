"""The command that writes a policy as C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparseagent.commands.console import app, friendly_errors, open_console
from sparseagent.commands.policies import PolicyFile


@app.command()
def export(
    *,
    policy: PolicyFile,
    out: Annotated[
        Path | None, typer.Argument(help="The C file to write. Default: <policy>.c.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What every C name begins with. Default: the C file's own name."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files.")] = False,
) -> None:
    """Write a policy as one C99 file and its header: no C library, no heap, the plan's bits.

    Example: sparseagent export policy.safetensors controller.c
    """
    from sparseagent import load
    from sparseagent.export import export_c

    with friendly_errors():
        target = policy.with_suffix(".c") if out is None else out
        for path in (target, target.with_suffix(".h")):
            if path.exists() and not overwrite:
                raise ValueError(f"{path} exists; --overwrite replaces it")
        written = export_c(load(policy), target, name=name)
    console = open_console()
    console.print(f"{target} and {target.with_suffix('.h').name}")
    console.print(f"self-test: cc -D{written.name.upper()}_SELFTEST {target} && ./a.out")
