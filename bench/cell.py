"""One cell: one policy at one batch size, all contenders verified, then timed taking turns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

from bench.contenders import Contender, UnsupportedError, Variant
from bench.machine import Machine, compiler_flags, load_average
from bench.nets import Case, Float32, observations
from bench.results import Row
from bench.timing import Track, interleave, percentile, trial
from bench.verify import Expected, WrongResultError, verify
from sparseagent import _core


@dataclass(frozen=True)
class Setting:
    """What a run keeps fixed.

    Attributes:
        machine: where it runs.
        isa: instruction set of sparseagent's kernels and of the peak.
        seconds: time to spend on timing each cell.
        clock_ns: cost of reading the clock in Python.
        forward_clock_ns: cost of reading the clock within `Plan.time`.
    """

    machine: Machine
    isa: str
    seconds: float
    clock_ns: int
    forward_clock_ns: float


@dataclass(frozen=True, eq=False)
class Entry:
    """A contender that is ready, or why it is not.

    Attributes:
        contender: who.
        status: `ok`, or the reason.
        track: its fastest variant, None where there is a reason.
        error: largest relative error of that variant.
        prepare_s: seconds its `prepare` took.
    """

    contender: Contender
    status: str
    track: Track | None = None
    error: float = math.nan
    prepare_s: float = math.nan


def measure_cell(
    case: Case, batch: int, contenders: Iterable[Contender], setting: Setting
) -> list[Row]:
    """One row per contender."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    arrays = observations(case, batch)
    expected = Expected(case, arrays)
    entries = [enter(contender, case, batch, arrays, expected) for contender in contenders]
    peaks = [_core.measure_peak(setting.isa)]
    interleave([e.track for e in entries if e.track], setting.seconds, setting.clock_ns)
    peak = max(*peaks, _core.measure_peak(setting.isa))
    return [
        _row(entry, case, batch, setting=setting, peak=peak, started=started) for entry in entries
    ]


def enter(
    contender: Contender, case: Case, batch: int, arrays: Sequence[Float32], expected: Expected
) -> Entry:
    """Prepare and verify every variant of `contender`; the fastest in a short trial stays."""
    reason = contender.missing()
    if reason:
        return Entry(contender, f"unavailable: {reason}")
    start = time.perf_counter()
    try:
        variants = contender.prepare(case.policy, batch)
        prepare_s = time.perf_counter() - start
        ready = [make_track(variant, arrays, expected) for variant in variants]
    except (UnsupportedError, WrongResultError) as problem:
        return Entry(contender, str(problem))
    except Exception as problem:  # a peer that breaks must not take the run with it
        return Entry(contender, f"failed: {_first_line(problem)}")
    track, error = min(ready, key=lambda pair: pair[0].estimate)
    return Entry(contender, "ok", track, error, prepare_s)


def make_track(
    variant: Variant, arrays: Sequence[Float32], expected: Expected
) -> tuple[Track, float]:
    """`variant` verified and tried out, with its error; raises `WrongResultError`."""
    wrapped = [variant.wrap(array) for array in arrays]
    error = verify(variant, wrapped, expected)
    return Track(variant, wrapped, trial(variant, wrapped)), error


def _row(
    entry: Entry, case: Case, batch: int, *, setting: Setting, peak: float, started: str
) -> Row:
    contender, track = entry.contender, entry.track
    p50 = percentile(track.calls, 0.5) if track else math.nan
    per_weight = 2.0 * batch / p50 if p50 > 0 else math.nan
    stored = case.weights if contender.stores == "all" else case.policy.nnz
    return Row(
        net=case.net,
        source=case.source,
        sparsity=case.sparsity,
        batch=batch,
        isa=setting.isa,
        contender=contender.name,
        variant=track.variant.name if track else "",
        status=entry.status,
        calls=len(track.calls) if track else 0,
        p50_ns=p50,
        p99_ns=percentile(track.calls, 0.99) if track else math.nan,
        ns_per_observation=p50 / batch,
        forward_ns=percentile(track.forwards, 0.5) - setting.forward_clock_ns
        if track
        else math.nan,
        gflops=per_weight * case.policy.nnz,
        peak_share=per_weight * case.policy.nnz / peak,
        peak_share_stored=per_weight * stored / peak,
        error=entry.error,
        prepare_s=entry.prepare_s,
        nonzeros=case.policy.nnz,
        weights=case.weights,
        peak_gflops=peak,
        load=load_average(),
        time=started,
        version="" if contender.missing() else contender.version(),
        flags=compiler_flags(setting.isa),
        **asdict(setting.machine),
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
