"""Programs: what is refused, what their files keep, and how far the contract is from float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import same_bits
from programs import Draft, random_program, rows_for

import sparseagent as sa
from sparseagent.ops import OPS, Linear, Observe
from sparseagent.ops.combine import Combine
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.reduce import Reduce
from sparseagent.policyfile import PolicyFileError
from sparseagent.program import Program, Span
from sparseagent.reference import error_bound, forward_exact, forward_float64

X, Y = Span("x", 0, 4), Span("y", 0, 4)
STEP = Observe((), (X,), "observation", sa.Observation((4,)))


def one_op(op: Any, inputs: int, outputs: int) -> Program:
    """An observation, `op`, and its output."""
    x, y = Span("x", 0, inputs), Span("y", 0, outputs)
    step = Observe((), (x,), "observation", sa.Observation((inputs,)))
    return Program({"x": inputs, "y": outputs}, (step, op((x,), (y,))), {"action": y})


@pytest.mark.parametrize(
    ("slots", "ops", "outputs", "message"),
    [
        ({"x": 4}, (), {"action": X}, "ops: expected 1 to 4096, got 0"),
        ({"x": 4}, (STEP,), {}, "outputs: expected 1 to"),
        ({"x": 0}, (STEP,), {"action": X}, "slots: x: expected 1 to"),
        (
            {"x": 4},
            (STEP, STEP),
            {"action": X},
            r"ops\[1\] \(observe\): .*the only one that writes",
        ),
        ({"x": 3}, (STEP,), {"action": X}, r"ops\[0\] .*: expected a span of the 3 features of x"),
        (
            {"x": 4, "y": 4},
            (Norm((X,), (Y,), "rms", 1e-5), STEP),
            {"action": Y},
            r"ops\[0\] \(norm\): expected x\[0:4\] to be written before it is read",
        ),
        ({"x": 4, "y": 4}, (STEP,), {"action": Y}, "outputs: action: expected .* to be written"),
        ({"x": 4}, (STEP,), {"action": Span("z", 0, 1)}, "expected a slot of x, got z"),
        (
            {"x": 4, "y": 3},
            (STEP, Norm((X,), (Span("y", 0, 3),), "rms", 1e-5)),
            {"action": X},
            r"ops\[1\] \(norm\): expected to read one span and to write one of the same size",
        ),
    ],
)
def test_what_does_not_fit_is_named(slots: Any, ops: Any, outputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Program(slots, ops, outputs)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_keep_their_bits_in_a_file_and_stay_near_float64(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    rows = rows_for(rng, program, 5)
    policy = sa.SparsePolicy(program).with_golden(rows)
    again = sa.load(policy.to_bytes())
    assert again.to_bytes() == policy.to_bytes()
    outputs = forward_exact(program, rows)
    assert same_bits(forward_exact(again.program, rows), outputs)
    error = np.abs(outputs - forward_float64(program, rows))
    assert (error <= error_bound(program, rows)).all()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("order", ["avx512", "avx2", "ascending"])
def test_another_order_is_the_same_function(seed: int, order: str) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng, 10)
    rows = rows_for(rng, program, 5)
    policy = sa.SparsePolicy(program).repack(order)
    bound = error_bound(program, rows) + error_bound(policy.program, rows)
    error = np.abs(forward_exact(policy.program, rows) - forward_exact(program, rows))
    assert (error <= bound).all()


def test_every_kind_occurs_in_random_programs() -> None:
    kinds = {
        op.kind for seed in range(60) for op in random_program(np.random.default_rng(seed)).ops
    }
    assert kinds == set(OPS) - {"cell"}  # those have states, and tests of their own


def values(program: Program, x: Any) -> np.ndarray:
    return forward_exact(program, np.asarray([x], np.float32))[0]


def test_norms_of_known_rows() -> None:
    row = [1.0, 2.0, 3.0, 6.0]
    layer = one_op(lambda r, w: Norm(r, w, "layer", 1e-5), 4, 4)
    expected = (np.array(row) - 3) / np.sqrt(3.5 + 1e-5)
    np.testing.assert_allclose(values(layer, row), expected, rtol=1e-6)
    rms = one_op(lambda r, w: Norm(r, w, "rms", 1e-5), 4, 4)
    np.testing.assert_allclose(values(rms, row), np.array(row) / np.sqrt(12.5 + 1e-5), rtol=1e-6)
    l2 = one_op(lambda r, w: Norm(r, w, "l2", 1e-8), 4, 4)
    np.testing.assert_allclose(values(l2, row), np.array(row) / np.sqrt(50), rtol=1e-6)
    assert (values(l2, [0.0] * 4) == 0).all()


def test_reductions_of_known_rows() -> None:
    row = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]
    mean = one_op(lambda r, w: Reduce(r, w, "mean", 2), 6, 2)
    np.testing.assert_allclose(values(mean, row), [2, 6], rtol=1e-6)
    strided = one_op(lambda r, w: Reduce(r, w, "mean", 2, strided=True), 6, 2)
    np.testing.assert_allclose(values(strided, row), [3, 5], rtol=1e-6)
    weight = np.array([1, 10, 100], np.float32)
    dot = one_op(lambda r, w: Reduce(r, w, "weighted_sum", 2, weight=weight), 6, 2)
    np.testing.assert_array_equal(values(dot, row), [321, 954])
    softmax = one_op(lambda r, w: Reduce(r, w, "softmax", 2), 6, 6)
    powers = np.exp(np.array(row).reshape(2, 3))
    expected = (powers / powers.sum(axis=1, keepdims=True)).ravel()
    np.testing.assert_allclose(values(softmax, row), expected, rtol=1e-6)


def test_a_map_scales_bounds_and_lets_nan_through() -> None:
    two, one = np.full(3, 2, np.float32), np.ones(3, np.float32)
    program = one_op(lambda r, w: Map(r, w, "relu", 0.0, two, one, 0.5, 4.0), 3, 3)
    np.testing.assert_array_equal(values(program, [-3.0, 1.0, 9.0]), [0.5, 3, 4])
    assert np.isnan(values(program, [np.nan, 0, 0])[0])


def test_a_dict_of_inputs_is_gathered_into_one_slot() -> None:
    rng = np.random.default_rng(0)
    draft = Draft(rng)
    whole = draft.slot(3 + 5 + 2)
    draft.observe("velocity", sa.Observation((3,)), Span(whole.slot, 0, 3))
    draft.observe("goal", sa.Observation((2,), "int64", categories=(3, 2)), Span(whole.slot, 3, 8))
    draft.observe(
        "image",
        sa.Observation((1, 2), "uint8", scale=np.array([255.0])),
        Span(whole.slot, 8, 10),
    )
    program = Program(draft.slots, tuple(draft.ops), {"action": whole})
    given = {
        "velocity": np.array([[0.5, -1, 2]], np.float32),
        "goal": np.array([[2, 0]]),
        "image": np.array([[[51, 255]]], np.uint8),
    }
    got = forward_exact(program, given)[0]
    np.testing.assert_array_equal(got, np.float32([0.5, -1, 2, 0, 0, 1, 1, 0, 51 / 255, 1]))
    policy = sa.SparsePolicy(program).with_golden(given)
    assert same_bits(forward_exact(sa.load(policy.to_bytes()).program, given)[0], got)
    given["goal"] = np.array([[3, 0]])  # no such category
    assert np.isnan(forward_exact(program, given)[0, 3:6]).all()
    with pytest.raises(ValueError, match="observations: expected velocity, goal, image"):
        forward_exact(program, {"velocity": given["velocity"]})


def test_statistics_in_float32_are_applied_in_float32() -> None:
    """(x - mean) / std as torch computes it, which float64 would round otherwise."""
    rng = np.random.default_rng(3)
    mean, scale = rng.normal(size=50), rng.uniform(0.5, 2, 50)
    step = sa.Observation((50,), shift=mean, scale=scale, precision="float32")
    whole = Span("x", 0, 50)
    program = Program({"x": 50}, (Observe((), (whole,), "observation", step),), {"action": whole})
    x = rng.normal(size=(40, 50)).astype(np.float32)
    expected = (x - mean.astype(np.float32)) / scale.astype(np.float32)
    assert same_bits(forward_exact(program, x), expected)
    double = sa.Observation((50,), shift=mean, scale=scale).apply(x)
    assert not np.array_equal(expected, double)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Norm((X,), (Y,), "batch", 1e-5), "rule: expected one of layer, rms, l2"),
        (lambda: Norm((X,), (Y,), "rms", 0.0), "eps: expected a positive number"),
        (lambda: Combine((X, X), (Y,), "lerp"), "weight: expected one for lerp"),
        (lambda: Reduce((X,), (Y,), "mean", 0), "groups: expected at least 1"),
        (lambda: Map((X,), (Y,), "relu", low=2.0, high=1.0), "expected low <= high"),
        (lambda: Map((X,), (Y,), "swish"), "activation: expected one of"),
        (lambda: Map((X,), (Y,), "celu", 0.0), "alpha: expected a positive number for celu"),
        (lambda: Span("x", 2, 2), "expected 0 <= start < stop"),
        (
            lambda: sa.Observation((2,), "int64", categories=(2,)),
            "categories: expected one positive count for each of 2 numbers",
        ),
        (lambda: sa.Observation((1,), categories=(2,)), "dtype: expected whole numbers"),
        (lambda: sa.Observation((1,), precision="half"), "precision: expected one of"),
    ],
)
def test_bad_parts_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_op_is_refused_by_name() -> None:
    policy = sa.SparsePolicy(one_op(lambda r, w: Norm(r, w, "rms", 1e-5), 4, 4))
    data = policy.to_bytes().replace(b'\\"op\\": \\"norm\\"', b'\\"op\\": \\"nrom\\"')
    from test_policyfile import reseal

    with pytest.raises(PolicyFileError, match=r"ops\[1\]: unknown op 'nrom'; a newer sparseagent"):
        sa.load(reseal(data))


def test_a_chain_is_a_chain() -> None:
    layer = sa.Layer(np.ones((4, 4), np.float32), np.zeros(4, np.float32))
    program = sa.chain((layer, layer), sa.Observation((4,)))
    assert program.is_chain()
    assert program.since == 1
    assert isinstance(program.ops[1], Linear)
    assert not random_program(np.random.default_rng(0)).is_chain()
