"""The builder and the folds: known answers, and random graphs against what they were before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sparseagent as sa
from sparseagent.convert import builder as building
from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.fold import fold
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.program import Program
from sparseagent.reference import forward_float64

Array = NDArray[np.float32]


def normal(*shape: int, seed: int = 0, keep: float = 1.0) -> Array:
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) * (random.random(shape) < keep)).astype(np.float32)


def start(size: int = 5) -> tuple[Builder, Value]:
    builder = Builder()
    return builder, builder.observe(sa.Observation((size,)))


def run(program: Program, x: Array) -> NDArray[np.float64]:
    """The first output in float64."""
    return forward_float64(program, x)


def kinds(program: Program) -> list[str]:
    return [op.kind for op in program.ops]


def linears(program: Program) -> list[sa.Layer]:
    return list(sa.SparsePolicy(program).layers)


def test_batch_norm_behind_a_linear_scales_its_rows() -> None:
    builder, x = start()
    weight, mean, var = normal(4, 5, keep=0.5), normal(4, seed=1), normal(4, seed=2) ** 2
    y = builder.batch_norm(builder.linear(x, weight), mean, var, eps=1e-3, scale=2.0, shift=0.5)
    program = builder.program({"action": builder.activation(y, "relu")})
    (layer,) = linears(program)
    assert kinds(program) == ["observe", "linear"]
    assert layer.activation == "relu"
    assert layer.nnz == np.count_nonzero(weight)
    batch = normal(7, 5, seed=3)
    expected = (batch @ weight.T - mean) / np.sqrt(var + 1e-3) * 2 + 0.5
    np.testing.assert_allclose(run(program, batch), np.maximum(expected, 0), atol=1e-5)


def test_batch_renorm_before_linears_goes_into_their_kept_weights() -> None:
    """CrossQ normalises before every Linear; the same value may feed two of them."""
    builder, x = start()
    h = builder.activation(builder.linear(x, normal(6, 5)), "relu")
    mean, var, gain, shift = (normal(6, seed=n) for n in (1, 2, 3, 4))
    h = builder.batch_norm(h, mean, var**2, eps=1e-3, scale=gain, shift=shift)
    weights = [normal(3, 6, seed=5, keep=0.4), normal(2, 6, seed=6, keep=0.4)]
    first, second = (builder.linear(h, weight, normal(len(weight))) for weight in weights)
    program = builder.program({"mean": first, "log_std": second})
    assert kinds(program) == ["observe", "linear", "linear", "linear"]
    for layer, weight in zip(linears(program)[1:], weights, strict=True):
        np.testing.assert_array_equal(layer.dense_weight() != 0, weight != 0)
    factor = gain.astype(np.float64) / np.sqrt(var.astype(np.float64) ** 2 + 1e-3)
    hidden = np.maximum(normal(7, 5, seed=8) @ normal(6, 5).T, 0)
    expected = ((hidden - mean) * factor + shift) @ weights[0].T + normal(3)
    np.testing.assert_allclose(run(program, normal(7, 5, seed=8)), expected, atol=1e-5)


def test_a_layer_norms_gain_and_shift_go_into_the_next_linear() -> None:
    builder, x = start()
    h = builder.affine(builder.norm(x, "layer", 1e-5), normal(5, seed=1), normal(5, seed=2))
    weight = normal(3, 5, seed=3, keep=0.5)
    program = builder.program({"action": builder.linear(h, weight)})
    assert kinds(program) == ["observe", "norm", "linear"]
    assert linears(program)[0].nnz == np.count_nonzero(weight)
    batch = normal(6, 5, seed=4).astype(np.float64)
    centred = batch - batch.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    expected = (normed * normal(5, seed=1) + normal(5, seed=2)) @ weight.T.astype(np.float64)
    np.testing.assert_allclose(run(program, batch.astype(np.float32)), expected, atol=1e-5)


@pytest.mark.parametrize("strided", [False, True])
def test_the_mean_over_quantiles_goes_into_the_last_linear(strided: bool) -> None:
    builder, x = start()
    h = builder.activation(builder.linear(x, normal(8, 5)), "relu")
    weight = normal(3 * 20, 8, seed=1, keep=0.1)
    quantiles = builder.linear(h, weight, normal(60, seed=2))
    program = builder.program({"action": builder.reduce("mean", quantiles, 3, strided=strided)})
    assert kinds(program) == ["observe", "linear", "linear"]
    shape = (20, 3, 8) if strided else (3, 20, 8)
    axis = 0 if strided else 1
    expected = weight.astype(np.float64).reshape(shape).mean(axis=axis)
    np.testing.assert_allclose(linears(program)[1].dense_weight(), expected, atol=1e-7)
    assert linears(program)[1].nnz == np.count_nonzero(expected)


def test_dueling_becomes_one_linear() -> None:
    """v + a - mean(a), Wang et al. 2016."""
    builder, x = start()
    h = builder.activation(builder.linear(x, normal(8, 5)), "relu")
    value = builder.linear(h, normal(1, 8, seed=1), normal(1, seed=2))
    advantage = builder.linear(h, normal(4, 8, seed=3, keep=0.5), normal(4, seed=4))
    mean = builder.affine(builder.reduce("mean", advantage), -1.0, 0.0)
    q = builder.combine("add", value, builder.combine("add", advantage, mean))
    program = builder.program({"action": q})
    assert kinds(program) == ["observe", "linear", "linear"]
    hidden = np.maximum(normal(6, 5, seed=5) @ normal(8, 5).T, 0)
    v = hidden @ normal(1, 8, seed=1).T + normal(1, seed=2)
    a = hidden @ normal(4, 8, seed=3, keep=0.5).T + normal(4, seed=4)
    expected = v + a - a.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(run(program, normal(6, 5, seed=5)), expected, atol=1e-5)


def test_the_normaliser_of_a_graph_becomes_the_observation_step() -> None:
    """(x - mean) / std, clipped: large means cost nothing there, and would in a matrix."""
    builder, x = start()
    mean, std = np.full(5, 1000, np.float32), np.full(5, 0.125, np.float32)
    h = builder.affine(builder.affine(x, 1.0, -mean), 1 / std, 0.0)
    program = builder.program(
        {"action": builder.linear(builder.clamp(h, -5, 5), np.eye(5, dtype=np.float32))}
    )
    assert kinds(program) == ["observe", "linear"]
    step = sa.SparsePolicy(program).observation
    np.testing.assert_array_equal(step.shift, mean)
    np.testing.assert_array_equal(step.scale, std)
    assert (step.low, step.high, step.precision) == (-5, 5, "float32")
    batch = (1000 + normal(6, 5) / 8).astype(np.float32)
    expected = np.clip((batch - mean) / std, -5, 5)
    np.testing.assert_array_equal(sa.compile(sa.SparsePolicy(program), tune=0)(batch), expected)


def test_what_others_read_is_not_folded_away() -> None:
    builder, x = start()
    h = builder.linear(x, normal(5, 5))
    relu = builder.activation(h, "relu")
    program = builder.program({"action": builder.combine("add", h, relu), "hidden": h})
    assert kinds(program) == ["observe", "linear", "map", "combine"]
    batch = normal(4, 5, seed=1)
    hidden = batch @ normal(5, 5).T
    np.testing.assert_allclose(run(program, batch), hidden + np.maximum(hidden, 0), atol=1e-5)


def test_a_concatenation_is_written_in_place() -> None:
    builder, x = start()
    parts = [builder.activation(builder.linear(x, normal(n, 5)), "relu") for n in (3, 4)]
    normed = builder.norm(builder.concat(*parts), "layer", 1e-5)
    program = builder.program({"action": builder.linear(normed, normal(2, 7))})
    assert kinds(program) == ["observe", "linear", "linear", "norm", "linear"]
    assert len(program.slots) == 4


def test_slices_and_repeats_in_any_order_are_columns_of_a_matrix() -> None:
    builder, x = start()
    chosen = [4, 0, 0, 2, 3]
    weight = normal(3, 5, seed=1)
    program = builder.program({"action": builder.linear(x.take(chosen), weight)})
    assert kinds(program) == ["observe", "linear"]
    batch = normal(4, 5, seed=2)
    np.testing.assert_allclose(run(program, batch), batch[:, chosen] @ weight.T, atol=1e-5)


@pytest.mark.parametrize("chosen", [[3, 4, 0, 1], [4, 3, 2, 1, 0] * 4, [2, 2]])
def test_gathered_outputs_are_moved_exactly(chosen: list[int]) -> None:
    builder, x = start()
    h = builder.activation(builder.linear(x, np.eye(5, dtype=np.float32)), "relu")
    moved = builder.activation(h.take(chosen), "tanh")
    program = builder.program({"action": moved})
    batch = normal(4, 5, seed=2)
    np.testing.assert_allclose(
        run(program, batch), np.tanh(np.maximum(batch, 0))[:, chosen], atol=1e-6
    )


def test_what_no_output_needs_is_dropped() -> None:
    builder, x = start()
    unused = builder.linear(x, normal(9, 5))
    builder.norm(unused, "layer", 1e-5)
    program = builder.program({"action": builder.linear(x, normal(2, 5))})
    assert kinds(program) == ["observe", "linear"]
    assert builder.matrices == [((9, 5), 0.0), ((2, 5), 0.0)]


def test_errors_name_the_part() -> None:
    builder, x = start()
    with pytest.raises(ValueError, match="the trunk: expected 5 inputs, got 4"):
        builder.linear(x, normal(2, 4), path="the trunk")
    with pytest.raises(ValueError, match="the trunk: bias: expected finite numbers"):
        builder.linear(x, normal(2, 5), np.full(2, np.nan, np.float32), path="the trunk")
    with pytest.raises(ValueError, match="the clamp: low, high: expected low <= high"):
        builder.clamp(x, 2, 1, path="the clamp")
    with pytest.raises(ValueError, match="the sum: expected values of one size, got 5 and 3"):
        builder.combine("add", x, x[:3], path="the sum")


def random_graph(seed: int) -> tuple[Builder, dict[str, Value]]:
    """Ops of every kind on values that are picked, sliced and joined at random."""
    random = np.random.default_rng(seed)
    builder, x = start(6)
    values = [x]

    def pick() -> Value:
        value = values[max(0, len(values) - 1 - int(random.integers(3)))]
        if value.size > 2 and random.random() < 0.2:
            value = value[int(random.integers(2)) : int(random.integers(2, value.size)) + 1]
        return builder.concat(value, values[-1]) if random.random() < 0.15 else value

    def some(*shape: int) -> Array:
        keep = random.choice([0.3, 1.0])
        return (random.standard_normal(shape) * (random.random(shape) < keep)).astype(np.float32)

    for _ in range(int(random.integers(3, 12))):
        value = pick()
        kind = random.integers(8)
        if kind <= 2:
            rows = int(random.integers(1, 8))
            values.append(builder.linear(value, some(rows, value.size), some(rows)))
        elif kind == 3:
            values.append(builder.affine(value, some(value.size), some(value.size)))
        elif kind == 4:
            values.append(builder.activation(value, str(random.choice(list(ACTIVATIONS)))))
        elif kind == 5:
            values.append(builder.clamp(value, -0.5, 2.0))
        elif kind == 6:
            other = values[-1]
            if other.size in (1, value.size) or value.size == 1:
                values.append(builder.combine("add", value, other))
        elif value.size % 2 == 0:
            values.append(builder.reduce("mean", value, 2, strided=bool(random.random() < 0.5)))
    values.append(builder.linear(values[-1], some(3, values[-1].size)))
    return builder, {"action": values[-1], "other": values[len(values) // 2]}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_folding_leaves_random_graphs_as_they_were(seed: int) -> None:
    plain = building.fold
    try:
        building.fold = lambda program: program  # type: ignore[assignment]
        builder, outputs = random_graph(seed)
        before = builder.program(outputs)
    finally:
        building.fold = plain  # type: ignore[assignment]
    after = fold(before)
    assert len(after.ops) <= len(before.ops)
    x = normal(5, 6, seed=1)
    expected = forward_float64(before, x)
    scale = np.abs(expected).max() + 1
    np.testing.assert_allclose(forward_float64(after, x) / scale, expected / scale, atol=3e-5)
    # Every fold is done at the first call already.
    assert kinds(fold(after)) == kinds(after)
