"""The one console of commands and progress: text comes out as it is.

rich reads `[...]` in a string as markup and `:car:` as a picture. Paths, ids and messages are not
written for it: a folder `runs/[x]` would vanish from a line, `[/x]` would end the command.
"""

from __future__ import annotations

from rich.console import Console


def open_console(*, error: bool = False, quiet: bool = False) -> Console:
    """A console on the standard output, or the one for errors; `quiet` prints nothing.

    Long lines are left whole, so that a path can be copied.
    """

    def console(width: int | None) -> Console:
        return Console(
            stderr=error,
            quiet=quiet,
            width=width,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=True,
        )

    found = console(None)
    # A pipe has no width; 80 columns would break the tables.
    return found if found.is_terminal else console(120)
