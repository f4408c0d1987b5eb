"""CUDA plans as Python sees them, on the shim: every library's arrays, every error, update."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shim
import torch
from make_cases import KINDS, simba, wide_policy
from networks import random_policy, same_bits
from programs import Draft, random_program, rows_for, several_inputs

import sparseagent as sa
from sparseagent.program import Program

pytest.importorskip("pybind11", reason="needs pybind11 to build the shim")
pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="fibers need a sanitizer of their own"
)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, host_objects: list[Path]) -> Any:
    path = shim.build(tmp_path_factory.mktemp("shim"), host_objects)
    return path, shim.load(path)


@pytest.fixture(autouse=True)
def _device(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sparseagent._cuda", library[1])


@pytest.fixture
def seen(library: Any) -> shim.Seen:
    return shim.Seen(library[0])


@pytest.fixture
def rng() -> Any:
    return np.random.default_rng(3)


def small(rng: Any, **parts: Any) -> sa.SparsePolicy:
    return random_policy(rng, (7, 33, 5), 0.6, "elu", **parts)


def rows(rng: Any, batch: int, width: int = 7) -> Any:
    return rng.normal(size=(batch, width)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2, 8, 9, 33, 129, 500])
def test_torch_in_torch_out_with_the_bits_of_the_cpu(rng: Any, batch: int) -> None:
    policy = small(rng)
    plan = sa.compile(policy, device="cuda")
    x = rows(rng, batch)
    y = plan(torch.from_numpy(x))
    assert isinstance(y, torch.Tensor)
    assert same_bits(y.numpy(), sa.compile(policy, tune=0)(x))


def test_one_observation_and_none(rng: Any) -> None:
    policy = small(rng)
    plan = sa.compile(policy, device="cuda:0")
    x = rows(rng, 1)[0]
    assert same_bits(plan(torch.from_numpy(x)).numpy(), sa.compile(policy, tune=0)(x))
    assert plan(torch.empty(0, 7)).shape == (0, 5)


def test_out_is_written_and_nothing_else_happens(rng: Any, seen: shim.Seen) -> None:
    policy = small(rng)
    plan = sa.compile(policy, device="cuda")
    x = rows(rng, 40)
    out = torch.empty(40, 5)
    launches, waits = seen.launches, seen.waits
    assert plan(torch.from_numpy(x), out) is None
    assert (seen.launches, seen.waits) == (launches + 1, waits)
    assert same_bits(out.numpy(), sa.compile(policy, tune=0)(x))


def test_out_may_be_the_observations(rng: Any) -> None:
    policy = random_policy(rng, (6, 20, 6), 0.5)
    plan = sa.compile(policy, device="cuda")
    x = rows(rng, 200, 6)
    expected = sa.compile(policy, tune=0)(x)
    both = torch.from_numpy(x.copy())
    plan(both, both)
    assert same_bits(both.numpy(), expected)
    long = torch.zeros(201, 6)
    with pytest.raises(ValueError, match="out: expected memory apart from the observations"):
        plan(long[:200], long[1:])


@pytest.mark.parametrize("head", ["argmax", "clip", "unscale", "raw"])
def test_predict_has_the_actions_of_the_cpu(rng: Any, head: str) -> None:
    box = sa.Box(np.full(5, -0.3), np.full(5, 0.4))
    heads = {"argmax": sa.Argmax(), "clip": sa.Clip(box), "unscale": sa.Unscale(box)}
    policy = small(rng, head=heads.get(head, sa.Raw()))
    plan, cpu = sa.compile(policy, device="cuda"), sa.compile(policy, tune=0)
    x = rows(rng, 50).astype(np.float64)
    actions, state = plan.predict(torch.from_numpy(x), "kept")
    assert state == "kept"
    assert same_bits(actions.numpy(), cpu.predict(x)[0])
    one, _ = plan.predict(torch.from_numpy(x[0]))
    assert same_bits(one.numpy(), np.asarray(cpu.predict(x[0])[0]))


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_give_all_outputs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng, 10, KINDS)
    policy = sa.SparsePolicy(program)
    x = rows_for(rng, program, 45)
    expected = sa.compile(policy, tune=0).outputs(x)
    found = sa.compile(policy, device="cuda").outputs(torch.from_numpy(x))
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert same_bits(found[name].numpy(), array)


def test_dicts_of_observations(rng: Any) -> None:
    program, given = several_inputs(rng, 20)
    policy = sa.SparsePolicy(program)
    plan = sa.compile(policy, device="cuda")
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    assert same_bits(plan(tensors).numpy(), sa.compile(policy, tune=0)(given))
    with pytest.raises(TypeError, match="observations: expected a dict of 4 arrays, got one"):
        plan(tensors["goal"])
    with pytest.raises(TypeError, match="expected a dict with 'goal', got one without"):
        plan.predict({k: v for k, v in tensors.items() if k != "goal"})
    with pytest.raises(ValueError, match="image: expected as many as of the other inputs"):
        plan.predict({**tensors, "image": tensors["image"][:3]})


def test_wide_and_deep_nets(rng: Any) -> None:
    for policy, width in ((wide_policy(rng), 348), (sa.SparsePolicy(simba(rng)), 67)):
        x = rows(rng, 9, width)
        plan = sa.compile(policy, device="cuda")
        assert same_bits(plan(torch.from_numpy(x)).numpy(), sa.compile(policy, tune=0)(x))


# --- other libraries ---------------------------------------------------------------------------


def test_arrays_with_the_interface_of_cuda(rng: Any, seen: shim.Seen) -> None:
    policy = small(rng)
    plan, cpu = sa.compile(policy, device="cuda"), sa.compile(policy, tune=0)
    x = rows(rng, 12)
    waits = seen.waits
    y = plan(shim.InterfaceArray(x, stream=77))
    assert same_bits(shim.numbers(y), cpu(x))
    assert y.__cuda_array_interface__["stream"] == 77
    assert (seen.stream, seen.waits) == (77, waits)
    out = shim.InterfaceArray(np.empty((12, 5), np.float32), stream=77)
    plan(shim.InterfaceArray(x, stream=77), out)
    assert same_bits(out.array, cpu(x))
    plan(shim.InterfaceArray(x))  # it does not say on which stream
    assert (seen.stream, seen.waits) == (0, waits + 1)


def test_arrays_with_capsules_alone(rng: Any, seen: shim.Seen) -> None:
    policy = small(rng)
    plan = sa.compile(policy, device="cuda")
    x = rows(rng, 12)
    waits = seen.waits
    y = plan(shim.CapsuleArray(x))
    assert same_bits(shim.numbers(y), sa.compile(policy, tune=0)(x))
    assert seen.waits == waits + 1
    references = sys.getrefcount(x)
    plan(shim.CapsuleArray(x))
    assert sys.getrefcount(x) == references


def test_results_are_in_the_library_of_the_caller(
    rng: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_dlpack(array: Any) -> Any:
        return shim.InterfaceArray(np.from_dlpack(array))

    plan = sa.compile(small(rng), device="cuda")
    array = type("ndarray", (shim.InterfaceArray,), {"__module__": "cupy.core"})(rows(rng, 3))
    monkeypatch.setitem(sys.modules, "cupy", shim.as_module("cupy", from_dlpack=from_dlpack))
    assert isinstance(plan(array), shim.InterfaceArray)
    jax = type("ArrayImpl", (shim.CapsuleArray,), {"__module__": "jaxlib._jax"})(rows(rng, 3))
    for name in ("jax", "jax.numpy"):
        monkeypatch.setitem(sys.modules, name, shim.as_module(name, from_dlpack=from_dlpack))
    assert isinstance(plan(jax), shim.InterfaceArray)


def test_the_stream_of_warp(rng: Any, seen: shim.Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = type("Stream", (), {"cuda_stream": 31})()
    warp = shim.as_module("warp", get_stream=lambda device: stream)
    monkeypatch.setitem(sys.modules, "warp", warp)
    members = {"__module__": "warp.types", "device": "cuda:0"}
    plan = sa.compile(small(rng), device="cuda")
    waits = seen.waits
    plan(type("array", (shim.InterfaceArray,), members)(rows(rng, 3)))
    assert (seen.stream, seen.waits) == (31, waits)


def test_streams(rng: Any, seen: shim.Seen) -> None:
    plan = sa.compile(small(rng), device="cuda")
    x, out = torch.from_numpy(rows(rng, 3)), torch.empty(3, 5)
    plan(x, out, 123)
    assert seen.stream == 123
    plan(x, stream=type("Stream", (), {"cuda_stream": 5})())
    assert seen.stream == 5
    plan.predict(x, stream=type("Stream", (), {"ptr": 6})())
    assert seen.stream == 6
    plan(x)
    assert seen.stream == 0
    with pytest.raises(TypeError, match="stream: expected a handle"):
        plan(x, stream="0")


# --- what is refused ---------------------------------------------------------------------------


def test_numpy_is_sent_to_the_cpu(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    for call in (plan, plan.predict, plan.outputs):
        with pytest.raises(TypeError, match=r'NumPy, .*compile with device="cpu"'):
            call(rows(rng, 3))
    with pytest.raises(TypeError, match="expected an array of torch, CuPy, JAX"):
        plan([[0.0] * 7])


def test_lazily_negated_tensors_are_refused(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    negated = torch._neg_view(torch.ones(3, 7))
    with pytest.raises(ValueError, match=r"lazily negated; use resolve_neg\(\)"):
        plan(negated)
    assert plan(negated.resolve_neg()).shape == (3, 5)


def test_tensors_that_cannot_be_used_where_they_lie(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    x = torch.from_numpy(rows(rng, 6))
    for strided in (x.T.contiguous().T, torch.zeros(6, 14)[:, ::2], torch.zeros(12, 7)[::2]):
        with pytest.raises(ValueError, match="observations: expected a C-contiguous array"):
            plan(strided)
    assert plan(torch.zeros(1, 14)[:, :7]).shape == (1, 5)  # one row is contiguous
    with pytest.raises(ValueError, match=r"expected \[7\] or \[B, 7\], got float32 \[6, 6\]"):
        plan(torch.zeros(6, 6))
    with pytest.raises(ValueError, match=r"expected float32 \(predict takes other types\)"):
        plan(x.double())
    with pytest.raises(TypeError, match=r"expected float32, float64, uint8, .*, got bfloat16"):
        plan.predict(x.bfloat16())
    with pytest.raises(TypeError, match=r"expected float32, float64, uint8, .*, got complex64"):
        plan.predict(x.to(torch.complex64))
    for shapeless in (x.to_sparse(), torch.empty(3, 7, device="meta")):
        with pytest.raises(ValueError, match="observations: expected a dense array on cuda:0"):
            plan(shapeless)
    assert plan(x.requires_grad_()).shape == (6, 5)


def test_out_must_fit(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    x = torch.from_numpy(rows(rng, 6))
    for out in (torch.empty(5, 5), torch.empty(6, 4), torch.empty(30), torch.empty(6, 5).int()):
        with pytest.raises(ValueError, match=r"out: expected a writable float32 \[6, 5\], got"):
            plan(x, out)
    with pytest.raises(TypeError, match="out: expected an array on cuda:0, got one of NumPy"):
        plan(x, np.empty((6, 5), np.float32))
    read_only = np.empty((6, 5), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writable float32"):
        plan(x, shim.InterfaceArray(read_only))


def test_arrays_elsewhere(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    with pytest.raises(ValueError, match="got one that is not in the memory of a GPU"):
        plan(shim.CapsuleArray(rows(rng, 3), device=(4, 0)))


def test_interfaces_that_lie(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    x = rows(rng, 3)
    for facts, match in (
        ({"typestr": ">f4"}, "byte order"),
        ({"typestr": "<c8"}, "byte order"),
        ({"mask": object()}, "without a mask"),
        ({"strides": (28,)}, "a stride for each axis"),
        ({"shape": (3, -7)}, r"expected \[7\] or"),
        ({"data": (x.ctypes.data + 1, False)}, "aligned"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
            plan(shim.InterfaceArray(x, **facts))


def test_sampling_needs_a_distribution(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    x = torch.from_numpy(rows(rng, 2))
    with pytest.raises(ValueError, match="the head raw holds no distribution to sample from"):
        plan.predict(x, deterministic=False)
    with pytest.raises(ValueError, match="action_masks: expected none for the head raw"):
        plan.predict(x, action_masks=torch.ones(2, 5, dtype=torch.bool))
    plan = sa.compile(small(rng, head=sa.Categorical()), device="cuda")
    with pytest.raises(ValueError, match="seed, step: expected both"):
        plan.predict(x, deterministic=False, seed=3)
    with pytest.raises(ValueError, match=r"action_masks: expected bool \[2, 5\], got"):
        plan.predict(x, action_masks=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"rows: expected int32 or int64 \[2\], got"):
        plan.predict(x, deterministic=False, rows=torch.zeros(3, dtype=torch.int64))


HEADS = {
    "categorical": sa.Categorical(start=2),
    "multi_categorical": sa.MultiCategorical((2, 3)),
    "bernoulli": sa.Bernoulli(),
    "gaussian": sa.DiagGaussian(np.full(5, -1, np.float32), squash=True),
    "epsilon_greedy": sa.EpsilonGreedy(0.3),
}


@pytest.mark.parametrize("kind", HEADS)
def test_samples_are_those_of_the_cpu(rng: Any, kind: str) -> None:
    policy = small(rng, head=HEADS[kind])
    plan, cpu = sa.compile(policy, device="cuda"), sa.compile(policy, tune=0)
    x = rows(rng, 300)
    numbers = rng.permutation(300).astype(np.int64)
    given: dict[str, Any] = {"seed": 2**64 - 1, "step": 77}
    masked = kind in ("categorical", "multi_categorical")
    masks = rng.random((300, 5)) < 0.7 if masked else None
    expected = cpu.sample(x, rows=numbers, action_masks=masks, **given)
    found = plan.sample(
        torch.from_numpy(x),
        rows=torch.from_numpy(numbers),
        action_masks=None if masks is None else torch.from_numpy(masks),
        **given,
    )
    for name, array in expected._asdict().items():
        if array is None:
            assert getattr(found, name) is None
        else:
            assert same_bits(getattr(found, name).numpy(), array), name
    actions, _ = plan.predict(torch.from_numpy(x), deterministic=False, **given)
    assert same_bits(actions.numpy(), cpu.predict(x, deterministic=False, **given)[0])
    mode = plan.sample(torch.from_numpy(x), deterministic=True)
    assert same_bits(mode.log_prob.numpy(), cpu.sample(x, deterministic=True).log_prob)
    fresh = [plan.predict(torch.from_numpy(x), deterministic=False)[0] for _ in range(2)]
    assert not torch.equal(*fresh)


def test_a_sampler_counts_the_steps(rng: Any) -> None:
    program, given = several_inputs(rng, 9)
    policy = sa.SparsePolicy(program, sa.Categorical())
    samplers = [
        sa.Sampler(sa.compile(policy, device="cuda"), seed=4),  # type: ignore[arg-type]
        sa.Sampler(sa.compile(policy, tune=0), seed=4),
    ]
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    for _ in range(3):
        drawn, expected = samplers[0].sample(tensors), samplers[1].sample(given)
        assert same_bits(drawn.action.numpy(), expected.action)
        assert same_bits(drawn.value.numpy(), expected.value)


# --- compile, devices --------------------------------------------------------------------------


def test_devices_and_their_names(rng: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = small(rng)
    assert [(d.name, d.available) for d in sa.devices()] == [("cpu", True), ("cuda:0", True)]
    with pytest.raises(ValueError, match="device: expected 'cpu', 'cuda' or 'cuda:N', got 'gpu'"):
        sa.compile(policy, device="gpu")
    with pytest.raises(RuntimeError, match="got 'cuda:1': there are 1"):
        sa.compile(policy, device="cuda:1")
    with pytest.raises(ValueError, match="threads: expected none with device='cuda'"):
        sa.compile(policy, device="cuda", threads=2)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="device: expected a str"):
        sa.compile(policy, device=0)  # type: ignore[call-overload]
    monkeypatch.setenv("ON_CPU_DEVICES", "0")
    last = sa.devices()[-1]
    assert (last.name, last.available) == ("cuda", False)
    with pytest.raises(RuntimeError, match="got 'cuda': no NVIDIA driver was found"):
        sa.compile(policy, device="cuda")


def test_what_does_not_fit_is_refused(rng: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = random_policy(rng, (600, 600, 4), 0.99)
    monkeypatch.setenv("ON_CPU_SHARED", "32768")
    with pytest.raises(
        ValueError, match="at most 1024 features alive at a time on CPU 0, got 1201"
    ):
        sa.compile(policy, device="cuda")
    wide = sa.SparsePolicy(random_program(np.random.default_rng(2), kinds=["conv2d"]))
    with pytest.raises(ValueError, match=r"got ops\[\d+\], a conv2d; device="):
        sa.compile(wide, device="cuda")
    draft = Draft(rng)
    span = draft.observe("observation", sa.Observation((3,)))
    for _ in range(60):
        span = draft.map(span)
    deep = sa.SparsePolicy(Program(draft.slots, tuple(draft.ops), {"action": span}))
    with pytest.raises(ValueError, match='at most 48 ops, got 61; device="cpu" runs this policy'):
        sa.compile(deep, device="cuda")


@pytest.mark.parametrize("multiprocessors", [1, 8, 132])
@pytest.mark.parametrize("major", [8, 9])
def test_bits_do_not_depend_on_the_device(
    rng: Any, monkeypatch: pytest.MonkeyPatch, multiprocessors: int, major: int
) -> None:
    monkeypatch.setenv("ON_CPU_MULTIPROCESSORS", str(multiprocessors))
    monkeypatch.setenv("ON_CPU_MAJOR", str(major))
    policy = random_policy(rng, (40, 200, 200, 6), 0.7, "tanh")
    plan, cpu = sa.compile(policy, device="cuda"), sa.compile(policy, tune=0)
    x = rows(rng, 300, 40)
    for batch in (1, 40, 300):
        assert same_bits(plan(torch.from_numpy(x[:batch])).numpy(), cpu(x[:batch]))
    clusters = {int(line.split()[2]) for line in plan.explain().splitlines()[4:11]}
    assert (max(clusters) > 1) == (major == 9 and multiprocessors > 1)


# --- update, copies, text ----------------------------------------------------------------------


def changed(rng: Any, policy: sa.SparsePolicy) -> sa.SparsePolicy:
    values, biases = [], []
    for layer in policy.layers:
        shape = layer.weight.values.shape if isinstance(layer.weight, sa.CSR) else layer.shape
        values.append(rng.normal(size=shape).astype(np.float32))
        biases.append(rng.normal(size=layer.shape[0]).astype(np.float32))
    return policy.with_values(values, biases)


@pytest.mark.parametrize("runs", [1, 3])
def test_update_in_place(rng: Any, runs: int) -> None:
    policy = small(rng, runs=runs)
    plan = sa.compile(policy, device="cuda")
    new = changed(rng, policy)
    plan.update(new, stream=9)
    assert plan.policy is new
    for batch in (1, 20, 300):
        x = rows(rng, batch)
        assert same_bits(plan(torch.from_numpy(x)).numpy(), sa.compile(new, tune=0)(x))


def test_update_of_dense_layers(rng: Any) -> None:
    weight = rng.normal(size=(9, 7)).astype(np.float32)
    layer = sa.Layer(weight, np.zeros(9, np.float32), "relu")
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((7,))))
    plan = sa.compile(policy, device="cuda")
    new = changed(rng, policy)
    plan.update(new)
    x = rows(rng, 5)
    assert same_bits(plan(torch.from_numpy(x)).numpy(), sa.compile(new, tune=0)(x))


def test_update_refuses_another_structure(rng: Any) -> None:
    policy = small(rng)
    plan = sa.compile(policy, device="cuda")
    x = rows(rng, 5)
    with pytest.raises(ValueError, match=r"layers\[0\]: expected the structure"):
        plan.update(small(np.random.default_rng(99)))
    with pytest.raises(ValueError, match="expected the observation step and head"):
        plan.update(replace(policy, head=sa.Argmax()))
    with pytest.raises(TypeError, match="policy: expected a SparsePolicy"):
        plan.update(3)  # type: ignore[arg-type]
    assert same_bits(plan(torch.from_numpy(x)).numpy(), sa.compile(policy, tune=0)(x))


def test_copies_text_and_time(rng: Any) -> None:
    plan = sa.compile(small(rng), device="cuda")
    x = torch.from_numpy(rows(rng, 5))
    for other in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert torch.equal(other(x), plan(x))
    assert "on cuda:0" in repr(plan)
    text = plan.explain()
    assert "features at a time" in text
    assert "no GPU has been measured" in text
    times = plan.time(x, 4)
    assert times.shape == (4,)
    assert (times > 0).all()
    with pytest.raises(ValueError, match="calls: expected 1 or more"):
        plan.time(x, 0)
