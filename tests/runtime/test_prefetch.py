"""`act.prefetch()`: changes no bit of any output, from any thread, in any process."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from networks import ISAS, random_policy, same_bits
from programs import several_inputs

import sparseagent as sa
from sparseagent.csr import Float32
from sparseagent.reference import forward_exact

RNG = np.random.default_rng(11)
POLICY = random_policy(RNG, (17, 256, 256, 6), 0.9)
#: Takes more than 50 us by the rule of thumb: its calls give the interpreter's lock up.
LONG = random_policy(RNG, (64, 1024, 1024, 1024, 5), 0.5)


def rows_of(policy: sa.SparsePolicy, count: int = 8) -> Float32:
    return RNG.normal(size=(count, policy.input_size)).astype(np.float32)


def calls_between_prefetches(act: sa.Plan, rows: Float32) -> Float32:
    out = np.full((len(rows), act.policy.output_size), np.nan, np.float32)
    for row, target in zip(rows, out, strict=True):
        assert act.prefetch() is None
        given = row.copy()
        act(row, target)
        after = target.copy()
        act.prefetch()
        assert same_bits(row, given)
        assert same_bits(target, after)
    return out


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("format", ["auto", "csr", "dense"])
def test_prefetch_changes_no_bit(isa: str, threads: int, format: str) -> None:
    act = sa.compile(POLICY, isa=isa, threads=threads, format=format, tune=0)
    rows = rows_of(POLICY)
    assert same_bits(calls_between_prefetches(act, rows), forward_exact(POLICY.program, rows))
    assert same_bits(act(rows), forward_exact(POLICY.program, rows))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("policy", [POLICY, LONG], ids=["short", "long"])
def test_many_threads_prefetch_at_once(policy: sa.SparsePolicy, threads: int) -> None:
    act = sa.compile(policy, threads=threads, tune=0)
    rows = rows_of(policy)
    expected, start = forward_exact(policy.program, rows), Barrier(4)

    def work(_: int) -> bool:
        start.wait()
        return all(same_bits(calls_between_prefetches(act, rows), expected) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_prefetch_follows_update() -> None:
    act = sa.compile(POLICY, tune=0)
    act.prefetch()
    values = [2 * layer.weight.values for layer in POLICY.layers]
    doubled = POLICY.with_values(values, [layer.bias for layer in POLICY.layers])
    act.update(doubled)
    rows = rows_of(POLICY)
    assert same_bits(calls_between_prefetches(act, rows), forward_exact(doubled.program, rows))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_prefetch_in_a_forked_child(threads: int) -> None:
    policy = LONG if threads == 2 else POLICY
    act = sa.compile(policy, threads=threads, tune=0)
    rows = rows_of(policy)
    expected = forward_exact(policy.program, rows)
    act.prefetch()

    def child() -> None:
        raise SystemExit(0 if same_bits(calls_between_prefetches(act, rows), expected) else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert same_bits(calls_between_prefetches(act, rows), expected)


def test_several_inputs_are_prefetched_from_several_threads() -> None:
    program, given = several_inputs(np.random.default_rng(0), 3)
    act = sa.compile(sa.SparsePolicy(program), tune=0)
    before = act(given)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: act.prefetch(), range(200)))
    assert act(given).tobytes() == before.tobytes()
