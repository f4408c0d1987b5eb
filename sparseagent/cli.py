"""`sparseagent`: the entry point of the command line. The commands lie in `commands/`.

The commands on policy files need the extra `cli` alone; what each of the others needs is imported
when it runs.
"""

from __future__ import annotations

import io
import sys

from sparseagent.extras import needed


def main() -> None:
    """Run the command line; say what to install if something is missing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A path that is no text, or a terminal that knows ASCII only, is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    try:
        from sparseagent.commands import app

        app()
    except ModuleNotFoundError as error:
        explained = needed(error, "this command", extra="train")
        if explained is error:
            raise
        print(f"error: {explained}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
