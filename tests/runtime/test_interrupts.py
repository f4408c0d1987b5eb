"""Long calls: a signal ends them soon, and other Python threads run meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from networks import random_policy

import sparseagent as sa

RNG = np.random.default_rng(5)
POLICY = random_policy(RNG, (64, 512, 512, 8), 0.0)
#: Ten seconds and more of work, on one thread and the plainest instruction set.
ROWS = RNG.normal(size=(60_000, 64)).astype(np.float32)
#: When the signal comes, and how much later the call must have ended; s.
DELAY, SOON = 0.4, 0.5

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")


class AlarmError(Exception):
    """What the handler raises, as that of SIGINT raises KeyboardInterrupt."""


@pytest.fixture
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def long_calls(threads: int) -> dict[str, Callable[[], object]]:
    act = sa.compile(POLICY, isa="scalar", threads=threads, tune=0)
    out = np.empty((len(ROWS), 8), np.float32)
    return {
        "act": lambda: act(ROWS),
        "act into out": lambda: act(ROWS, out),
        "predict": lambda: act.predict(ROWS),
        "one long time": lambda: act.time(ROWS, 1),
        "many times": lambda: act.time(ROWS[0], 1_000_000),
        "compile": lambda: sa.compile(POLICY, isa="scalar", threads=threads, tune=30_000),
    }


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", long_calls(1))
def test_a_signal_ends_a_long_call_and_other_threads_run(name: str, threads: int) -> None:
    call = long_calls(threads)[name]
    beats: list[float] = []
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.01):
            beats.append(time.perf_counter())

    other = threading.Thread(target=beat)
    other.start()
    start = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, DELAY)
    try:
        with pytest.raises(AlarmError):
            call()
    finally:
        taken = time.perf_counter() - start
        stop.set()
        other.join()
    assert taken < DELAY + SOON
    assert sum(moment - start < DELAY for moment in beats) >= 5


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_plan_works_after_an_interrupted_call(threads: int) -> None:
    act = sa.compile(POLICY, isa="scalar", threads=threads, tune=0)
    few = ROWS[:300]
    expected = act(few)
    signal.setitimer(signal.ITIMER_REAL, DELAY)
    with pytest.raises(AlarmError):
        act(ROWS)
    assert act(few).tobytes() == expected.tobytes()


def test_a_long_call_gives_the_bits_of_short_ones() -> None:
    """Also where the outputs take the place of the observations."""
    policy = random_policy(RNG, (64, 64, 64), 0.0)
    act = sa.compile(policy, isa="scalar", threads=2, tune=0)
    rows = ROWS[:40_001].copy()
    expected = np.concatenate([act(rows[i : i + 77]) for i in range(0, len(rows), 77)])
    assert act(rows).tobytes() == expected.tobytes()
    assert act.predict(rows)[0].tobytes() == expected.tobytes()
    act(rows, rows)
    assert rows.tobytes() == expected.tobytes()
