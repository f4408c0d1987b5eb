"""Latency of single calls, measured fairly: interleaved in one process, on one core.

Times of different moments do not compare: clocks change, neighbours come and go. So the
candidates take turns in short blocks, and whatever disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Latency", "measure_latency", "pin_core"]

_BLOCK = 25  # timed calls of one candidate before the next has its turn
_REFILL = 3  # untimed calls at the start of a block: the caches still hold the neighbour's data


@dataclass(frozen=True)
class Latency:
    """Wall time of one call, in nanoseconds.

    Attributes:
        name: What was called.
        p50_ns: Median.
        p99_ns: 99th percentile.
        mean_ns: Mean.
        calls: How many calls were timed.
    """

    name: str
    p50_ns: float
    p99_ns: float
    mean_ns: float
    calls: int


def measure_latency(
    functions: Mapping[str, Callable[[], object]], *, calls: int = 5_000, warmup: int = 200
) -> tuple[Latency, ...]:
    """Time functions call by call, in turns; wrap it in `pin_core()` for quiet numbers.

    A time includes two readings of the clock, together some tens of ns. The garbage collector is
    off meanwhile.

    Args:
        functions: What to call, by name; each is called without arguments.
        calls: Timed calls of each function, at least 1; the p99 wants 1,000 and more.
        warmup: Calls of each function before the first timed one, at least 0.

    Returns:
        One `Latency` for each function, in the order given.

    Raises:
        ValueError: `functions` is empty, or a number is out of range.
        TypeError: A function cannot be called.
    """
    if not functions:
        raise ValueError("functions must hold at least one function, got none")
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"functions[{name!r}] must be callable, got {type(function).__name__}")
    if calls < 1 or warmup < 0:
        raise ValueError(
            f"calls must be at least 1 and warmup at least 0, got {calls} and {warmup}"
        )
    times: dict[str, list[int]] = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(warmup):
            function()
    names = list(functions)
    with _garbage_collector_off():
        while len(times[names[0]]) < calls:
            block = min(_BLOCK, calls - len(times[names[0]]))
            for name in names:
                _time_block(functions[name], block, times[name])
    return tuple(_latency(name, times[name]) for name in names)


def _time_block(function: Callable[[], object], calls: int, times: list[int]) -> None:
    clock = time.perf_counter_ns
    for _ in range(_REFILL):
        function()
    for _ in range(calls):
        start = clock()
        function()
        times.append(clock() - start)


def _latency(name: str, times: list[int]) -> Latency:
    p50, p99 = np.percentile(times, (50, 99))
    return Latency(name, float(p50), float(p99), float(np.mean(times)), len(times))


@contextmanager
def _garbage_collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def pin_core(core: int | None = None) -> Iterator[int | None]:
    """Keep the calling thread on one core and numeric libraries on one thread.

    Pins with `os.sched_setaffinity` where the system has it, holds BLAS and OpenMP to one thread
    through threadpoolctl where it is installed, and torch where it is loaded. Everything is put
    back at the end. Threads that run already keep their cores.

    Args:
        core: Index of an allowed core; None takes the last one, which is seldom the one that
            serves interrupts.

    Yields:
        The core, or None where the system cannot pin.

    Raises:
        ValueError: This process may not run on `core`.
    """
    with ExitStack() as stack:
        torch: Any = sys.modules.get("torch")
        if torch is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        try:
            from threadpoolctl import threadpool_limits  # type: ignore[import,unused-ignore]
        except ImportError:
            pass
        else:
            stack.enter_context(threadpool_limits(limits=1))
        yield _pin(core, stack)


def _pin(core: int | None, stack: ExitStack) -> int | None:
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    if core is None:
        core = max(allowed)
    elif core not in allowed:
        raise ValueError(f"core must be one of {sorted(allowed)}, got {core}")
    os.sched_setaffinity(0, {core})
    stack.callback(os.sched_setaffinity, 0, allowed)
    return core
