"""Timing: single calls, short bursts, contenders taking turns within one process.

Every call is timed by itself, so that percentiles are percentiles of calls; what the clock costs is
measured once and taken off. The contenders take turns in random order in bursts of about 2 ms, so
that a slow phase of the machine (another tenant, a lower clock) hits all of them alike: ratios
within one run are what counts. The first calls of a burst, in which caches and branch predictors
still hold the previous contender, are not recorded.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import Float64, Variant

BURST_NS = 2_000_000
MAX_BURST = 4_096
MIN_CALLS = 3
WARM_UP_SHARE = 0.1
#: Calls longer than this refill their caches in a small part of one call: no warm-up.
LONG_NS = 2_000_000


@dataclass(eq=False)
class Track:
    """A verified variant with its inputs, and what was measured of it so far.

    Attributes:
        variant: what runs.
        wrapped: its inputs, one per observation array; calls cycle through them.
        estimate: time of a call in ns, from a short trial.
        calls: ns of each recorded call, the clock's cost taken off.
        forwards: ns of single forwards without Python, where the variant can tell; the clock's
            cost is still in them.
        spent: ns of its budget used.
    """

    variant: Variant
    wrapped: Sequence[Any]
    estimate: float
    calls: list[int] = field(default_factory=list)
    forwards: list[float] = field(default_factory=list)
    spent: int = 0
    turn: int = 0


def clock_cost() -> int:
    """Ns that two readings of the clock differ by with nothing between them: the median."""
    clock = time.perf_counter_ns
    gaps = []
    for _ in range(20_000):
        start = clock()
        gaps.append(clock() - start)
    return int(np.median(gaps))


def forward_clock_cost() -> float:
    """Ns of `Plan.time` that are the clock's: its median for a net of one weight bounds them."""
    one = np.ones((1, 1), np.float32)
    layer = sa.Layer(sa.CSR.from_dense(one), np.zeros(1, np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((1,))))
    return float(np.median(sa.compile(policy).time(one[0], 20_000)))


def trial(variant: Variant, wrapped: Sequence[Any], budget_ns: int = 20_000_000) -> float:
    """Median ns of a call over a short trial, at least one call after a warm-up."""
    samples: list[int] = []
    _burst(variant, wrapped, 0, 1, samples)
    if samples[0] > 50 * budget_ns:
        return float(samples[0])
    samples.clear()
    end = time.perf_counter_ns() + budget_ns
    while not samples or (time.perf_counter_ns() < end and len(samples) < 5_000):
        _burst(variant, wrapped, len(samples), 10 if len(samples) > 10 else 1, samples)
    return float(np.median(samples[len(samples) // 2 :]))


def interleave(
    tracks: Sequence[Track],
    seconds: float,
    clock_ns: int,
    seed: int = 0,
    burst_ns: int = BURST_NS,
) -> None:
    """Let `tracks` take turns for about `seconds` in all; fills `calls` and `forwards`.

    Each gets the same share of the time; one whose calls are longer than its share still makes
    `MIN_CALLS`. `burst_ns` is the length of a turn.
    """
    share = seconds * 1e9 / max(1, len(tracks))
    rng = np.random.default_rng(seed)
    gc.collect()
    gc.disable()
    try:
        waiting = list(tracks)
        while waiting:
            for place in rng.permutation(len(waiting)):
                _take_turn(waiting[place], clock_ns, burst_ns)
            waiting = [t for t in waiting if t.spent < share or len(t.calls) < MIN_CALLS]
    finally:
        gc.enable()


def percentile(samples: Sequence[float], share: float) -> float:
    """The percentile `share` of `samples`, or NaN if not one of them lies beyond it."""
    if not len(samples) or (1.0 - share) * len(samples) < 0.5:
        return float("nan")
    return float(np.percentile(np.asarray(samples, np.float64), 100 * share))


def forward_times(variant: Variant, wrapped: Any, calls: int) -> Float64 | None:
    """Ns of `calls` forwards without Python, or None where the contender cannot tell."""
    return None if variant.forward_ns is None else variant.forward_ns(wrapped, calls)


def _take_turn(track: Track, clock_ns: int, burst_ns: int) -> None:
    most = MAX_BURST * burst_ns // BURST_NS
    count = int(np.clip(burst_ns / max(track.estimate, 1.0), 1, most))
    warm = 0 if track.estimate > LONG_NS else max(2, int(WARM_UP_SHARE * count))
    samples: list[int] = []
    start = time.perf_counter_ns()
    _burst(track.variant, track.wrapped, len(track.calls), warm + count, samples)
    track.spent += time.perf_counter_ns() - start
    track.calls.extend(max(0, ns - clock_ns) for ns in samples[warm:])
    # Every fourth turn also asks the contender for its own clock, outside the budget.
    if track.turn % 4 == 0:
        wrapped = track.wrapped[track.turn // 4 % len(track.wrapped)]
        inner = forward_times(track.variant, wrapped, warm + count)
        if inner is not None:
            track.forwards.extend(inner[warm:].tolist())
    track.turn += 1


def _burst(
    variant: Variant, wrapped: Sequence[Any], first: int, count: int, samples: list[int]
) -> None:
    """Time `count` calls one by one, cycling through the inputs from number `first` on."""
    clock, run, record = time.perf_counter_ns, variant.run, samples.append
    inputs = [wrapped[(first + i) % len(wrapped)] for i in range(count)]
    with variant.inside():
        for x in inputs:
            start = clock()
            run(x)
            record(clock() - start)
