"""Throws hostile input at one border of the package: `python tests/fuzz/fuzz.py policy`.

    policy   policy files with a valid checksum around damaged, forged or greedy content
    zip      Stable-Baselines3's zips with damaged members, pickles and sizes (needs torch)
    core     the compiled core called directly, with arguments of every wrong kind

A case is wrong if it ends in anything but a result or an error that the border promises, takes more
than ten seconds, or needs more memory than its target allows. Case `n` of seed `s` is always the
same one. Cases run in a child process: one that kills it is a find like any other.
"""

from __future__ import annotations

import argparse
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

TARGETS = ("policy", "zip", "core")
SECONDS_A_CASE = 10
CORPUS = Path(__file__).with_name("corpus")
#: Sanitizers reserve more addresses than any limit would leave.
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")


class Target(Protocol):
    """One border, and what may come to it."""

    def case(self, rng: np.random.Generator) -> bytes:
        """A new input."""

    def check(self, content: bytes) -> bool:
        """Whether the input was taken; raises if that went wrong, or the refusal did."""

    def memory(self, content: bytes) -> int:
        """Bytes that `check` may need."""


class Tally:
    """What the child tells, in memory shared with it: the case it is at, and how others ended."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 32)

    def __getitem__(self, place: int) -> int:
        return int(struct.unpack_from("q", self.memory, 8 * place)[0])

    def __setitem__(self, place: int, value: int) -> None:
        struct.pack_into("q", self.memory, 8 * place, value)


AT, TAKEN, REFUSED, WRONG = range(4)


def generated(target: Target, seed: int, number: int) -> bytes:
    """Case `number` of `seed`."""
    return target.case(np.random.default_rng([seed, number]))


def check_one(target: Target, content: bytes) -> bool:
    """One case within its limits of time and memory."""
    if not SANITIZED:
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (in_use + target.memory(content), hard))
    # Kills whatever does not come back, C++ as well.
    signal.alarm(SECONDS_A_CASE * (10 if SANITIZED else 1))
    try:
        return target.check(content)
    finally:
        signal.alarm(0)
        if not SANITIZED:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def work(target: Target, contents: Iterator[tuple[int, bytes]], tally: Tally, finds: Path) -> None:
    """The child: all cases, one after the other."""
    warnings.simplefilter("ignore")
    for number, content in contents:
        tally[AT] = number
        try:
            taken = check_one(target, content)
            tally[TAKEN if taken else REFUSED] += 1
        except Exception:
            tally[WRONG] += 1
            print(f"case {number}: {keep(finds, content, number)}", file=sys.stderr)
            traceback.print_exc()


def keep(finds: Path, content: bytes, number: int) -> Path:
    """Save a find; its path."""
    finds.mkdir(parents=True, exist_ok=True)
    path = finds / f"{number}.bin"
    path.write_bytes(content)
    return path


def run(target: Target, seed: int, numbers: range, seconds: float, finds: Path) -> Tally:
    """The numbered cases of `seed`, or as many as there is time for."""
    tally, until = Tally(), time.monotonic() + seconds

    def contents(start: int) -> Iterator[tuple[int, bytes]]:
        for number in range(start, numbers.stop):
            if time.monotonic() > until:
                return
            tally[AT] = number
            yield number, generated(target, seed, number)

    start = numbers.start
    while start < numbers.stop and time.monotonic() < until:
        status = in_child(lambda start=start: work(target, contents(start), tally, finds))
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            break
        number = tally[AT]
        path = keep(finds, generated(target, seed, number), number)
        print(f"case {number}: {path}: {how_it_died(status)}", file=sys.stderr)
        tally[WRONG] += 1
        start = number + 1
    return tally


def replay(target: Target, paths: list[Path], finds: Path) -> Tally:
    """Cases from files: finds of before."""
    tally = Tally()
    for number, path in enumerate(paths):
        content = path.read_bytes()
        each = iter([(number, content)])
        status = in_child(lambda each=each: work(target, each, tally, finds))
        if status != 0:
            print(f"{path}: {how_it_died(status)}", file=sys.stderr)
            tally[WRONG] += 1
    return tally


def in_child(do: Any) -> int:
    """Run `do()` in a fork of this process; how that ended, as `os.wait` says it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        do()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def how_it_died(status: int) -> str:
    """In words."""
    if not os.WIFSIGNALED(status):
        return f"exit code {os.WEXITSTATUS(status)}"
    name = signal.Signals(os.WTERMSIG(status)).name
    return f"no end after {SECONDS_A_CASE} s" if name == "SIGALRM" else f"killed by {name}"


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=1 << 62)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--finds", type=Path, default=Path("build/fuzz"), help="folder for finds")
    parser.add_argument("--replay", type=Path, nargs="*", help="files instead; default: the corpus")
    options = parser.parse_args(arguments)
    seed = int.from_bytes(os.urandom(4), "little") if options.seed is None else options.seed
    target: Target = import_module(f"{options.target}_target").Target()
    finds = options.finds / f"{options.target}-{seed}"
    start = time.monotonic()
    if options.replay is None:
        print(f"{options.target}: seed {seed}, cases from {options.first} on", flush=True)
        numbers = range(options.first, options.first + options.cases)
        tally = run(target, seed, numbers, options.seconds, finds)
    else:
        paths = options.replay or sorted(CORPUS.glob(f"{options.target}-*"))
        tally = replay(target, paths, finds)
    total = tally[TAKEN] + tally[REFUSED] + tally[WRONG]
    print(
        f"{options.target}: {total} cases in {time.monotonic() - start:.0f} s: "
        f"{tally[TAKEN]} taken, {tally[REFUSED]} refused, {tally[WRONG]} wrong"
    )
    return 1 if tally[WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
