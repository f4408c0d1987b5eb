"""Latency: who is called when, what is counted, and that the machine is left as it was."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

import numpy as np
import pytest

from sparseagent.report import Latency, measure_latency, pin_core
from sparseagent.report import latency as module


def test_percentiles_of_known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0
    costs = iter([7] * 5 + list(range(1, 101)))  # warm-up and refilling calls cost 7

    def call() -> None:
        nonlocal now
        now += next(costs)

    monkeypatch.setattr(time, "perf_counter_ns", lambda: now)
    monkeypatch.setattr(module, "_BLOCK", 100)
    (latency,) = measure_latency({"known": call}, calls=100, warmup=5 - module._REFILL)
    assert latency == Latency("known", p50_ns=50.5, p99_ns=99.01, mean_ns=50.5, calls=100)


def test_functions_take_turns_in_blocks() -> None:
    order: list[str] = []
    functions = {name: lambda name=name: order.append(name) for name in "abc"}
    result = measure_latency(functions, calls=60, warmup=2)
    assert [latency.name for latency in result] == ["a", "b", "c"]
    assert all(latency.calls == 60 for latency in result)
    blocks = "".join(name for k, name in enumerate(order) if k == 0 or order[k - 1] != name)
    assert blocks == "abc" * 4  # warm-up, 25, 25, 10
    assert order.count("a") == 2 + 60 + 3 * module._REFILL


def test_a_slower_function_is_slower() -> None:
    small, large = np.ones(10), np.ones((120, 120))
    quick, slow = measure_latency(
        {"quick": lambda: small + 1, "slow": lambda: large @ large}, calls=200, warmup=10
    )
    assert 0 < quick.p50_ns <= quick.p99_ns
    assert quick.p50_ns < slow.p50_ns
    assert slow.p50_ns <= slow.p99_ns


def test_garbage_collector_is_off_meanwhile_and_back_afterwards() -> None:
    states: list[bool] = []
    measure_latency({"watch": lambda: states.append(gc.isenabled())}, calls=3, warmup=0)
    assert not any(states)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        measure_latency({"fails": lambda: 1 // 0}, calls=3, warmup=0)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"functions": {}}, ValueError, "at least one function"),
        ({"functions": {"three": 3}}, TypeError, r"functions\['three'\] must be callable, got int"),
        ({"calls": 0}, ValueError, "calls must be at least 1"),
        ({"warmup": -1}, ValueError, "warmup at least 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    call: dict[str, Any] = {"functions": {"nothing": lambda: None}, **arguments}
    with pytest.raises(error, match=message):
        measure_latency(call.pop("functions"), **call)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot pin threads")
def test_pin_core_pins_and_restores() -> None:
    before = os.sched_getaffinity(0)
    with pin_core() as core:
        assert os.sched_getaffinity(0) == {core} == {max(before)}
    assert os.sched_getaffinity(0) == before
    with pin_core(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    with pytest.raises(ZeroDivisionError), pin_core(min(before)):
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ValueError, match="core must be one of"), pin_core(10_000):
        pass
    assert os.sched_getaffinity(0) == before


def test_pin_core_without_pinning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pin_core() as core:
        assert core is None


def test_pin_core_holds_libraries_to_one_thread() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    np.ones((2, 2)) @ np.ones((2, 2))

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]

    before = threads()
    with pin_core():
        assert set(threads()) <= {1}
    assert threads() == before


def test_pin_core_holds_torch_to_one_thread() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pin_core():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
