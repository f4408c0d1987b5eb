"""SparsePolicy and its parts: what fits together, and the errors when it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import random_policy, same_bits

import sparseagent as sa
from sparseagent.csr import MAX_WIDTH
from sparseagent.ops.observe import DTYPES
from sparseagent.order import ORDERS

RNG = np.random.default_rng(0)


def layer(out: int, width: int) -> sa.Layer:
    return sa.Layer(np.ones((out, width), np.float32), np.zeros(out, np.float32))


def test_shapes_must_chain() -> None:
    with pytest.raises(ValueError, match=r"layers\[1\]: expected 5 inputs, got 4"):
        sa.SparsePolicy(sa.chain((layer(5, 3), layer(2, 4)), sa.Observation((3,))))
    with pytest.raises(ValueError, match=r"layers\[0\]: expected 7 inputs, got 3"):
        sa.SparsePolicy(sa.chain((layer(5, 3),), sa.Observation((7,))))
    with pytest.raises(ValueError, match="layers: expected at least one"):
        sa.SparsePolicy(sa.chain((), sa.Observation((7,))))
    with pytest.raises(ValueError, match="head: expected bounds for 5 outputs, got 2"):
        sa.SparsePolicy(sa.chain((layer(5, 3),), sa.Observation((3,))), sa.clip_to([0, 0], [1, 1]))
    with pytest.raises(ValueError, match="order: expected one of"):
        sa.SparsePolicy(sa.chain((layer(5, 3),), sa.Observation((3,))), order="sideways")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"layers": (layer(5, 3), [1])}, r"layers\[1\]: expected an instance of Layer, got \[1\]"),
        ({"observation": (3,)}, r"observation: expected an instance of Observation, got \(3,\)"),
        ({"head": "argmax"}, "head: expected an instance of Head, got 'argmax'"),
        ({"head": sa.Argmax}, r"head: expected an instance of Head, got <class"),
        ({"metadata": ["Test-v0"]}, r"metadata: expected an instance of Mapping, got \['Test-v0'"),
        (
            {"metadata": {"env": "Test-v0", "mean": np.float32(1)}},
            r"metadata: mean: expected what JSON gives back .*, got (np.float32\()?1\.0",
        ),
        ({"metadata": {"a": {(1, 2): 3}}}, "metadata: a: expected what JSON gives back"),
        ({"metadata": {"a": {1: 3}}}, "metadata: a: expected what JSON gives back"),
        ({"metadata": {"shape": (8,)}}, r"metadata: shape: expected .*no tuple.*, got \(8,\)"),
        ({"metadata": {"mean": float("nan")}}, "metadata: mean: expected .*NaN.*, got nan"),
    ],
)
def test_parts_of_a_wrong_type_are_named(part: dict[str, Any], message: str) -> None:
    parts = {"layers": (layer(5, 3),), "observation": sa.Observation((3,)), **part}
    with pytest.raises(TypeError, match=message):
        sa.SparsePolicy(sa.chain(parts.pop("layers"), parts.pop("observation")), **parts)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones((2, 2), np.float64), np.zeros(2, np.float32)), TypeError, "weight: .*float64"),
        ((np.ones((2, 2), np.float32), np.zeros(3, np.float32)), ValueError, "bias: expected 2"),
        (
            (np.full((2, 2), np.nan, np.float32), np.zeros(2, np.float32)),
            ValueError,
            "weight: .*fin",
        ),
        ((np.ones((2, 2), np.float32), np.full(2, np.inf, np.float32)), ValueError, "bias: .*fin"),
        ((np.ones((2, 2), np.float32), np.zeros(2, np.float32), "swish"), ValueError, "'swish'"),
        ((np.ones((0, 4), np.float32), np.zeros(0, np.float32)), ValueError, "weight: shape: "),
        ((np.ones((4, 0), np.float32), np.zeros(4, np.float32)), ValueError, "weight: shape: "),
        (
            (np.ones((1, MAX_WIDTH + 1), np.float32), np.zeros(1, np.float32)),
            ValueError,
            "weight: shape: .*1048577",
        ),
    ],
)
def test_bad_layers(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sa.Layer(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": ()}, "shape: expected at least one"),
        ({"shape": (0,)}, "shape: expected at least one"),
        ({"shape": (2,), "dtype": "complex64"}, "dtype: expected one of"),
        ({"shape": (2,), "shift": np.zeros(3)}, "shift: expected 2 numbers, got 3"),
        ({"shape": (2,), "scale": np.array([1, 0])}, "scale: expected positive"),
        ({"shape": (2,), "scale": np.array([1, np.nan])}, "scale: expected finite"),
        ({"shape": (2,), "low": 1, "high": 1}, "low < high"),
    ],
)
def test_bad_observations(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sa.Observation(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DTYPES)
def test_an_np_dtype_is_kept_as_its_name(name: str) -> None:
    step = sa.Observation((2,), np.dtype(name))  # type: ignore[arg-type]
    assert type(step.dtype) is str
    assert step.dtype == name


def test_bad_heads() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        sa.clip_to([0, 0], [1])
    with pytest.raises(ValueError, match="low <= high"):
        sa.clip_to([2], [1])
    with pytest.raises(ValueError, match="finite bounds"):
        sa.unscale_to([0], [np.inf])


def test_counts_and_summary() -> None:
    policy = random_policy(RNG, (10, 20, 4), 0.8)
    assert policy.nnz == sum(np.count_nonzero(part.dense_weight()) for part in policy.layers)
    assert policy.sparsity == pytest.approx(1 - policy.nnz / (10 * 20 + 20 * 4))
    assert (policy.input_size, policy.output_size, policy.action_shape) == (10, 4, (4,))
    text = policy.summary()
    assert "10-20" in text
    assert str(policy.nnz) in text


def test_repack_gives_the_plain_order() -> None:
    policy = random_policy(RNG, (10, 20, 4), 0.5, runs=3)
    golden = policy.with_golden(RNG.normal(size=(3, 10)).astype(np.float32))
    plain = golden.repack("ascending")
    for before, after in zip(policy.layers, plain.layers, strict=True):
        assert np.array_equal(before.dense_weight(), after.dense_weight())
        assert after.weight.is_ascending()
    assert plain.golden is not None
    assert same_bits(plain.golden.observations, golden.golden.observations)
    with pytest.raises(ValueError, match=r"order: expected one of ascending, .*, got 'avx1024'"):
        policy.repack("avx1024")


@pytest.mark.parametrize("order", ["avx512", "avx2", "neon"])
def test_layers_too_wide_for_lookups_stay_ascending(order: str) -> None:
    widest = 256 * ORDERS[order]
    for width, packed in ((widest, True), (widest + 1, False)):
        policy = random_policy(RNG, (width, 40, 3), 0.95).repack(order)
        assert policy.layers[0].weight.is_ascending() != packed
        few = random_policy(RNG, (width, 3), 0.5).repack(order)
        assert (few.layers[0].weight.runs > 1) == packed


def test_the_self_test_has_the_dtype_of_the_environment() -> None:
    policy = random_policy(RNG, (4, 3), 0.5, observation=sa.Observation((4,), "uint8"))
    golden = policy.with_golden([[1, 2, 3, 255]]).golden
    assert golden is not None
    assert golden.observations.dtype == np.uint8


@pytest.mark.parametrize("order", ["avx512", "avx2", "neon"])
def test_a_packed_order_does_not_depend_on_the_order_before(order: str) -> None:
    plain = random_policy(RNG, (40, 50, 30, 3), 0.8)
    shuffled = []
    for layer in plain.layers:
        csr = layer.weight
        place = np.lexsort((RNG.random(csr.nnz), csr.rows()))
        weight = sa.CSR(csr.shape, csr.indptr, csr.indices[place], csr.values[place])
        shuffled.append(sa.Layer(weight, layer.bias, layer.activation))
    other = sa.SparsePolicy(sa.chain(tuple(shuffled), plain.observation))
    for a, b in zip(plain.repack(order).layers, other.repack(order).layers, strict=True):
        for name in ("indptr", "indices", "values"):
            assert same_bits(getattr(a.weight, name), getattr(b.weight, name)), name
        assert same_bits(a.bias, b.bias)


def test_with_values_shares_the_structure() -> None:
    policy = random_policy(RNG, (10, 20, 4), 0.5, runs=2)
    golden = policy.with_golden(RNG.normal(size=(3, 10)).astype(np.float32))
    values = [layer.weight.values * 2 for layer in policy.layers]
    biases = [layer.bias + 1 for layer in policy.layers]
    other = golden.with_values(values, biases)
    assert other.golden is None
    for before, after, weight, bias in zip(
        policy.layers, other.layers, values, biases, strict=True
    ):
        assert after.weight.indices is before.weight.indices
        assert same_bits(after.weight.values, weight)
        assert same_bits(after.bias, bias)
        assert not after.weight.values.flags.writeable
    with pytest.raises(ValueError, match="values: expected 2 arrays, got 1"):
        policy.with_values(values[:1], biases)
    with pytest.raises(ValueError, match=r"values: expected \d+ numbers, got 3"):
        policy.with_values([values[0][:3], values[1]], biases)
    with pytest.raises(ValueError, match="values: expected finite numbers"):
        policy.with_values([values[0] * np.inf, values[1]], biases)
    with pytest.raises(ValueError, match="bias: expected 20 numbers"):
        policy.with_values(values, biases[::-1])
    dense = sa.Layer(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"values: expected \(2, 3\), got \(3, 2\)"):
        dense.with_values(np.ones((3, 2), np.float32), dense.bias)


def test_normalisation_rule() -> None:
    mean, var = np.array([1.0, -2.0]), np.array([4.0, 0.25])
    step = sa.Observation.normalise(mean, var, eps=1e-8, clip=10)
    x = np.array([[3.0, -2.25], [1e9, -1e9]])
    assert step.apply(x) == pytest.approx(np.array([[1.0, -0.5], [10, -10]]), rel=1e-6)


def test_lane_balanced_rows_need_no_other_order() -> None:
    """Three of every 32 inputs in each row: ascending columns fill all lanes as they are."""
    rng = np.random.default_rng(5)
    weight = np.zeros((64, 96), np.float32)
    for row in weight:
        for first in range(0, 96, 32):
            row[first + rng.choice(32, 3, replace=False)] = 1 + rng.random(3)
    layers = (
        sa.Layer(sa.CSR.from_dense(weight), np.zeros(64, np.float32), "relu"),
        sa.Layer(sa.CSR.from_dense(weight[:, :64]), np.zeros(64, np.float32)),
    )
    policy = sa.SparsePolicy(sa.chain(layers, sa.Observation((96,))))
    for plain, packed in zip(policy.layers, policy.repack("avx512").layers, strict=True):
        assert np.array_equal(packed.weight.indptr, plain.weight.indptr)
        assert np.array_equal(packed.weight.indices, plain.weight.indices)
    moved = policy.repack("avx2").layers[0].weight  # 16 columns at a time are not balanced
    assert not np.array_equal(moved.indices, weight.nonzero()[1])
