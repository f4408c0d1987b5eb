"""`sparseagent`: the entry point of the command line. The commands lie in `commands/`."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; say what to install if something is missing."""
    try:
        from sparseagent.commands import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "sparseagent":
            raise
        print(
            f"sparseagent: the command line needs {error.name}, which is not installed.\n"
            "Install it with: pip install sparseagent[train]",
            file=sys.stderr,
        )
        raise SystemExit(1) from error
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A path that is no text, or a terminal that knows ASCII only, is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
