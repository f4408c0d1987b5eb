"""Plans: arguments, errors, refresh, explanation, threads and forks."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import ISAS, formats_of, random_policy, same_bits

import sparseagent as sa
from sparseagent.reference import forward_exact

RNG = np.random.default_rng(2)
POLICY = random_policy(RNG, (17, 64, 33, 6), 0.8)
ROWS = RNG.normal(size=(257, 17)).astype(np.float32)
EXPECTED = forward_exact(POLICY.program, ROWS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"isa": "mmx"}, "isa: expected one of scalar"),
        ({"format": "coo"}, "format: expected auto, block, .*csr.* got 'coo'"),
        ({"threads": 0}, "threads: expected 1 to 64, got 0"),
        ({"threads": 2**40}, "threads: expected 1 to 64, got 1099511627776"),
        ({"tune": -1}, "tune: expected"),
        ({"tune": float("nan")}, "tune: expected"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sa.compile(POLICY, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 2.0}, "threads: expected an int, got float"),
        ({"threads": "2"}, "threads: expected an int, got str"),
        ({"threads": None}, "threads: expected an int, got NoneType"),
        ({"isa": 1}, "isa: expected a str or None, got int"),
        ({"format": None}, "format: expected a str, got NoneType"),
        ({"tune": None}, "tune: expected ms, a saved tuning or the path of one, got NoneType"),
        ({"tune": [1]}, "tune: expected ms, a saved tuning or the path of one, got list"),
    ],
)
def test_options_of_the_wrong_type(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        sa.compile(POLICY, **options)
    assert str(caught.value) == message


def test_numbers_of_numpy_are_options() -> None:
    act = sa.compile(POLICY, threads=np.int64(2), tune=np.float32(0))  # type: ignore[arg-type]
    assert act.threads == 2


def test_a_policy_is_wanted() -> None:
    with pytest.raises(TypeError, match="policy: expected a SparsePolicy, got str"):
        sa.compile("policy.safetensors")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="policy: expected a SparsePolicy, got NoneType"):
        sa.compile(POLICY).update(None)  # type: ignore[arg-type]


def test_a_plan_is_made_by_compile_alone() -> None:
    with pytest.raises(TypeError, match="Plan: expected compile"):
        sa.Plan.__new__(sa.Plan)
    with pytest.raises(TypeError, match="Plan: expected compile"):
        sa.Plan()
    with pytest.raises(TypeError, match="Plan: expected compile"):
        sa.Plan.__new__(sa.Plan, None)(ROWS)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_a_plan_travels(again: Any) -> None:
    act = sa.compile(POLICY, threads=2, isa=ISAS[-1], tune=1)
    other = again(act)
    assert (other.isa, other.threads, other.tuning) == (act.isa, act.threads, act.tuning)
    assert same_bits(other(ROWS[:67]), act(ROWS[:67]))


def test_a_plan_from_another_machine_is_tuned_anew() -> None:
    act = sa.compile(POLICY, tune=0)
    make, (policy, threads, saved) = act.__reduce__()
    other = make(policy, threads, {**saved, "cpu": "another"})
    assert same_bits(other(ROWS[:5]), act(ROWS[:5]))


def test_plans_and_policies_have_short_names() -> None:
    assert len(repr(POLICY)) < 200
    assert len(repr(sa.compile(POLICY, tune=0))) < 250


def test_isa_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEAGENT_ISA", "scalar")
    assert sa.compile(POLICY).isa == "scalar"
    assert sa.compile(POLICY, isa=ISAS[-1]).isa == ISAS[-1]
    monkeypatch.setenv("SPARSEAGENT_ISA", "vax")
    with pytest.raises(ValueError, match="got 'vax'"):
        sa.compile(POLICY)


def test_an_isa_this_machine_lacks_is_refused() -> None:
    for isa in sa.kernels():
        if not isa.available:
            with pytest.raises(ValueError, match=f"cannot run '{isa.name}'"):
                sa.compile(POLICY, isa=isa.name)


def test_explain_keeps_its_columns_apart() -> None:
    act = sa.compile(POLICY, tune=0)
    text = act.explain()
    assert all(f"  {regime}  " in text for regime in act._costs)


def test_explain_names_every_layer_and_candidate() -> None:
    text = sa.compile(POLICY, tune=5).explain()
    for word in ("17-64", "64-33", "33-6", "csr", "dense", "ns", "one", "tile", "isa"):
        assert word in text
    assert "not timed" in sa.compile(POLICY, tune=0).explain()


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "scalar"])
def test_explain_says_when_a_repack_may_pay(isa: str) -> None:
    advice = f"policy.repack({isa!r})"
    assert advice in sa.compile(POLICY, isa=isa, tune=0).explain()
    assert advice not in sa.compile(POLICY.repack(isa), isa=isa, tune=0).explain()


def fresh_numbers(policy: sa.SparsePolicy) -> sa.SparsePolicy:
    """Other weights and biases under the same masks, zeros and denormals among them."""
    values, biases = [], []
    for layer in policy.layers:
        shape = layer.weight.values.shape if isinstance(layer.weight, sa.CSR) else layer.shape
        fresh = RNG.normal(size=shape).astype(np.float32)
        fresh.ravel()[::5] = [0.0, -0.0, 1e-42][int(RNG.integers(3))]
        values.append(fresh)
        biases.append(RNG.normal(size=layer.shape[0]).astype(np.float32))
    return policy.with_values(values, biases)


def updatable() -> dict[str, sa.SparsePolicy]:
    dense = sa.Layer(RNG.normal(size=(8, 33)).astype(np.float32), np.ones(8, np.float32), "tanh")
    blocks = np.kron(RNG.random((3, 17)) < 0.3, np.ones((16, 1))).astype(np.float32)
    block = sa.Layer(sa.CSR.from_dense(blocks), np.ones(48, np.float32), "relu")
    return {
        "plain": POLICY,
        "packed": POLICY.repack("avx512"),
        "runs": random_policy(RNG, (17, 40, 5), 0.6, "elu", runs=3),
        "dense layer": sa.SparsePolicy(sa.chain((*POLICY.layers[:2], dense), POLICY.observation)),
        "blocks": sa.SparsePolicy(sa.chain((block,), POLICY.observation)),
        "large": random_policy(RNG, (17, 400, 300, 4), 0.5),  # rows are split over threads
    }


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", updatable())
def test_update_takes_new_values_under_the_same_masks(name: str, isa: str) -> None:
    policy = updatable()[name]
    for threads in (1, 2):
        for format in formats_of(isa, policy):
            act = sa.compile(policy, isa=isa, format=format, threads=threads, tune=1)
            for _ in range(2):
                changed = fresh_numbers(policy)
                act.update(changed)
                assert act.policy is changed
                expected = forward_exact(changed.program, ROWS[:67])
                assert same_bits(act(ROWS[:67]), expected), format
                for batch in (1, 2, 3, 4, 5, 9):
                    assert same_bits(act(ROWS[:batch]), expected[:batch]), (format, batch)


def test_update_refuses_another_structure() -> None:
    act = sa.compile(POLICY)
    other = random_policy(RNG, (17, 64, 33, 6), 0.8)
    with pytest.raises(ValueError, match=r"layers\[0\]: expected the structure"):
        act.update(other)
    with pytest.raises(ValueError, match="policy: expected 3 layers, got 1"):
        act.update(
            sa.SparsePolicy(sa.chain((random_policy(RNG, (17, 6), 0.5).layers), POLICY.observation))
        )
    with pytest.raises(ValueError, match="policy: expected the observation step and head"):
        act.update(
            sa.SparsePolicy(sa.chain(POLICY.layers, sa.Observation((17,), low=-1)), POLICY.head)
        )
    first, *others = POLICY.layers
    other = sa.SparsePolicy(
        sa.chain((replace(first, activation="tanh"), *others), POLICY.observation)
    )
    with pytest.raises(ValueError, match=r"layers\[0\]: expected the structure"):
        act.update(other)
    assert same_bits(act(ROWS), EXPECTED)


def test_many_python_threads_share_a_plan() -> None:
    for threads in (1, 2):
        act = sa.compile(POLICY, threads=threads)
        wrong: list[int] = []

        def work(seed: int, act: sa.Plan = act, wrong: list[int] = wrong) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(200):
                first = int(rng.integers(0, 200))
                count = int(rng.integers(1, 57))
                if not same_bits(act(ROWS[first : first + count]), EXPECTED[first : first + count]):
                    wrong.append(seed)

        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong


@pytest.mark.parametrize("order", ["ascending", "avx512", "avx2"])
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_one_observation_on_several_threads(threads: int, order: str) -> None:
    """Large layers are split by rows; the bits are those of one thread, from many callers too."""
    policy = random_policy(RNG, (100, 530, 700, 9), 0.6, "tanh").repack(order)
    rows = RNG.normal(size=(20, 100)).astype(np.float32)
    expected = forward_exact(policy.program, rows)
    wide = rows.astype(np.float64)
    act = sa.compile(policy, threads=threads, tune=1)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            for number, row in enumerate(rows):
                if not same_bits(act(row), expected[number]):
                    wrong.append(number)
                if not same_bits(act.predict(wide[number])[0], expected[number]):
                    wrong.append(number)

    work()
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def settles_at(count: int) -> bool:
    """The kernel takes a moment to forget a thread that has been joined."""
    deadline = time.monotonic() + 10
    while native_threads() != count and time.monotonic() < deadline:
        time.sleep(0.01)
    return native_threads() == count


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads through /proc")
def test_threads_start_on_first_use_only() -> None:
    gc.collect()
    time.sleep(0.1)
    before = native_threads()
    act = sa.compile(POLICY, threads=3)
    act(ROWS[0])
    act(ROWS[:8])
    assert native_threads() == before
    act(ROWS)
    assert settles_at(before + min(3, len(os.sched_getaffinity(0))) - 1)
    del act
    assert settles_at(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_runs_a_plan_that_had_threads() -> None:
    act = sa.compile(POLICY, threads=2)
    assert same_bits(act(ROWS), EXPECTED)
    large = random_policy(RNG, (17, 400, 300, 4), 0.5)
    split = sa.compile(large, threads=2)
    row = split(ROWS[0])
    child = os.fork()
    if child == 0:
        ok = all(same_bits(act(ROWS), EXPECTED) for _ in range(20))
        ok = ok and all(same_bits(split(ROWS[0]), row) for _ in range(20))
        del act, split
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert same_bits(act(ROWS), EXPECTED)
