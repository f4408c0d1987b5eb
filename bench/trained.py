"""Every policy file of a study: `python -m bench.trained FOLDER`.

Trains and prunes nothing: all `*.safetensors` policies below the folder are timed as they are, on
their golden observations, with all contenders. Their names are their paths below the folder.
Trained masks have rows of unlike length, an output layer that stays dense, and inputs that are
anything but normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import sheet
from bench.cell import Setting
from bench.machine import describe
from bench.nets import Case, file_case
from bench.run import Task, choose, isa_name, measure, report_failures
from bench.timing import clock_cost, forward_clock_cost


def main(arguments: Sequence[str] | None = None) -> int:
    """Time every policy; returns 1 if there is none, or one of ours failed its check."""
    parser = sheet.arguments("trained", __doc__)
    parser.add_argument("folder", type=Path, help="where the policy files lie, at any depth")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32, 512])
    parser.add_argument("--contenders", nargs="+", default=[], help="default: all")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each cell")
    parser.add_argument("--minutes", type=float, help="time for all, spread over the cells")
    parser.add_argument("--again", action="store_true", help="measure what is in the file, too")
    options = parser.parse_args(arguments)
    isa = isa_name(options.isa)
    machine = describe(options.core)
    found = cases(options.folder)
    if not found:
        print(f"folder: expected policy files (*.safetensors) below {options.folder}, got none")
        return 1
    setting = Setting(machine, isa, options.seconds, clock_cost(), forward_clock_cost())
    chosen = choose(options.contenders, isa)
    tasks = [Task(case, batch, chosen) for case in found for batch in options.batches]
    return report_failures(
        measure(tasks, setting, options.out, again=options.again, minutes=options.minutes)
    )


def cases(folder: Path) -> list[Case]:
    """The policies below `folder` by name; a file that holds something else is named and left out.

    Two files never share a name: it is the path below the folder.
    """
    found = []
    for path in sorted(folder.rglob("*.safetensors")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        try:
            found.append(file_case(path, name))
        except ValueError as problem:
            print(f"left out {path}: {problem}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
