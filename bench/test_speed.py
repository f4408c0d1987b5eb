"""The pytest-benchmark entry: `pytest bench/test_speed.py`, under 2 minutes.

One net at the sparsity and the batch sizes that matter most, every contender verified before it is
timed. pytest-benchmark runs the contenders one after the other, so a slow phase of the machine hits
one of them alone: ratios to quote come from `python -m bench.run`, where they take turns.
pytest-benchmark has no columns for percentiles; `extra_info` carries them into its JSON.
"""

from __future__ import annotations

import dataclasses
import itertools
from functools import lru_cache
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cell import enter
from bench.contenders import contenders
from bench.machine import Machine, describe, load_average
from bench.nets import NETS, Case, observations, random_case
from bench.timing import Track, forward_times, percentile
from bench.verify import Expected
from sparseagent import _core

NET, SPARSITY, BATCHES = "M", 0.9, (1, 128)
SECONDS = 1.0
MIN_ROUNDS, MAX_ROUNDS = 20, 20_000


@lru_cache
def _case() -> Case:
    return random_case(NETS[NET], SPARSITY)


@lru_cache
def _inputs(batch: int) -> tuple[list[Any], Expected]:
    arrays = observations(_case(), batch)
    return arrays, Expected(_case(), arrays)


@pytest.fixture(scope="module")
def machine() -> Machine:
    """Pins the process for the whole file."""
    return describe()


@pytest.mark.parametrize("name", contenders())
@pytest.mark.parametrize("batch", BATCHES)
def test_speed(benchmark: BenchmarkFixture, machine: Machine, batch: int, name: str) -> None:
    arrays, expected = _inputs(batch)
    entry = enter(contenders()[name], _case(), batch, arrays, expected)
    if entry.status.startswith("unavailable"):
        pytest.skip(entry.status)
    assert entry.track is not None, entry.status
    benchmark.group = f"{NETS[NET].label}, sparsity {SPARSITY}, B={batch}"
    calls = _time(benchmark, entry.track)
    peak = _core.measure_peak()
    p50 = percentile(calls, 0.5)
    gflops = 2 * _case().policy.nnz * batch / p50
    inner = forward_times(entry.track.variant, entry.track.wrapped[0], 1_000)
    benchmark.extra_info.update(
        variant=entry.track.variant.name,
        version=entry.contender.version(),
        p50_ns=p50,
        p99_ns=percentile(calls, 0.99),
        ns_per_observation=p50 / batch,
        forward_ns=None if inner is None else percentile(inner.tolist(), 0.5),
        gflops_nonzeros=gflops,
        peak_share=gflops / peak,
        peak_gflops=peak,
        error=entry.error,
        load=load_average(),
        **dataclasses.asdict(machine),
    )


def _time(benchmark: Any, track: Track) -> list[float]:
    """Rounds of one call each for about `SECONDS`, cycling through the inputs; ns of each."""
    following = itertools.cycle(track.wrapped).__next__
    run = track.variant.run
    rounds = min(MAX_ROUNDS, max(MIN_ROUNDS, int(SECONDS * 1e9 / track.estimate)))
    with track.variant.inside():
        benchmark.pedantic(lambda: run(following()), rounds=rounds, warmup_rounds=rounds // 10)
    return [seconds * 1e9 for seconds in benchmark.stats.stats.data]
