"""Every format, ISA, batch size, place in the batch and thread count gives the reference's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    FORMATS,
    ISAS,
    ORDERS,
    block_csr,
    formats_of,
    policies,
    random_policy,
    same_bits,
)

import sparseagent as sa
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.reference import error_bound, forward_exact, forward_float64

NETS = {
    "S": ((8, 64, 64, 4), "tanh"),
    "M": ((17, 256, 256, 6), "relu"),
    "odd": ((3, 1, 77, 129, 2), "elu"),
    "wide": ((300, 40, 5), "gelu"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("net", NETS)
def test_batches_1_to_300(net: str, isa: str, threads: int) -> None:
    sizes, activation = NETS[net]
    rng = np.random.default_rng(7)
    for sparsity in (0.5, 0.9):
        policy = random_policy(rng, sizes, sparsity, activation)
        rows = rng.normal(size=(300, sizes[0])).astype(np.float32)
        expected = forward_exact(policy.program, rows)
        for format in FORMATS:
            act = sa.compile(policy, isa=isa, format=format, threads=threads, tune=1)
            # The scalar code is slow: a step of 7 still meets every remainder of its tiles.
            for batch in range(1, 301, 7 if isa == "scalar" else 1):
                got = act(rows[:batch])
                assert same_bits(got, expected[:batch]), (format, batch)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("order", ORDERS)
def test_every_isa_runs_every_order(order: str, isa: str) -> None:
    """An order made for other lanes than the ISA's own included."""
    rng = np.random.default_rng(9)
    for sizes in ((17, 70, 131, 6), (300, 40, 2), (5, 3, 1)):
        for sparsity in (0.7, 0.9, 0.98):
            plain = random_policy(rng, sizes, sparsity, "tanh")
            policy = plain.repack(order)
            rows = rng.normal(size=(67, sizes[0])).astype(np.float32)
            rows[5, 0], rows[9, 1] = np.inf, np.nan
            expected = forward_exact(policy.program, rows)
            for format in formats_of(isa, policy):
                act = sa.compile(policy, isa=isa, format=format, tune=1)
                assert same_bits(act(rows), expected), format
                for row, output in zip(rows[:12], expected, strict=False):
                    assert same_bits(act(row), output), format


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [4, 16])
@pytest.mark.parametrize("out", [64, 50])
def test_blocks(out: int, size: int, isa: str) -> None:
    """Whole blocks and cut ones, in ascending order and packed for lanes."""
    rng = np.random.default_rng(11)
    layers = (
        sa.Layer(block_csr(rng, out, 30, 0.8, size), np.ones(out, np.float32), "relu"),
        sa.Layer(block_csr(rng, 21, out, 0.7, size), np.ones(21, np.float32), "tanh"),
    )
    plain = sa.SparsePolicy(sa.chain(layers, sa.Observation((30,))))
    rows = rng.normal(size=(67, 30)).astype(np.float32)
    rows[5, 0], rows[9, 1] = np.inf, np.nan
    for policy in (plain, *(plain.repack(order) for order in ORDERS)):
        expected = forward_exact(policy.program, rows)
        formats = formats_of(isa, policy)
        assert size == 4 or "block" in formats, "packing leaves blocks of whole vectors alone"
        for format in formats:
            act = sa.compile(policy, isa=isa, format=format, tune=1)
            assert same_bits(act(rows), expected), format
            for row, output in zip(rows[:12], expected, strict=False):
                assert same_bits(act(row), output), format


def test_block_refuses_rows_that_differ() -> None:
    policy = random_policy(np.random.default_rng(1), (9, 8, 4), 0.3)
    with pytest.raises(ValueError, match="'block' cannot follow the structure and order"):
        sa.compile(policy, format="block")


@pytest.mark.parametrize("order", ORDERS)
def test_repacking_changes_rounding_only(order: str) -> None:
    rng = np.random.default_rng(10)
    plain = random_policy(rng, (17, 256, 100, 6), 0.9)
    policy = plain.repack(order)
    rows = rng.normal(size=(50, 17)).astype(np.float32)
    assert policy.order == order
    assert policy.nnz == plain.nnz
    bound = error_bound(plain.program, rows)
    assert (
        np.abs(forward_exact(policy.program, rows) - forward_float64(plain.program, rows)) <= bound
    ).all()


@settings(max_examples=150, deadline=None)
@given(policy=policies(), batch=st.integers(1, 40), data=st.data())
def test_any_structure_and_input(policy: sa.SparsePolicy, batch: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = rng.normal(size=(batch, policy.input_size)).astype(np.float32)
    special = [0.0, -0.0, 1e-42, -1e-42, 3e38, np.inf, -np.inf, np.nan]
    for value in data.draw(st.lists(st.sampled_from(special), max_size=4)):
        rows[rng.integers(batch), rng.integers(policy.input_size)] = value
    expected = forward_exact(policy.program, rows)
    for isa in ISAS:
        for format in formats_of(isa, policy):
            act = sa.compile(policy, isa=isa, format=format, tune=0)
            assert same_bits(act(rows), expected), (isa, format)
            assert same_bits(act(rows[0]), expected[0]), (isa, format)


def test_the_place_in_the_batch_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    policy = random_policy(rng, (17, 64, 6), 0.8, "tanh")
    act = sa.compile(policy)
    row = rng.normal(size=17).astype(np.float32)
    alone = act(row)
    for place in range(67):
        batch = rng.normal(size=(67, 17)).astype(np.float32)
        batch[place] = row
        assert same_bits(act(batch)[place], alone)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_distance_to_float64(activation: str) -> None:
    rng = np.random.default_rng(5)
    for sparsity in (0.0, 0.5, 0.95):
        policy = random_policy(rng, (17, 128, 64, 6), sparsity, activation)
        rows = (3 * rng.normal(size=(64, 17))).astype(np.float32)
        distance = np.abs(sa.compile(policy)(rows) - forward_float64(policy.program, rows))
        bound = error_bound(policy.program, rows)
        assert (distance <= bound).all()
        assert bound.max() < 0.05, "a bound this loose shows nothing"


def test_an_absent_weight_never_touches_its_input() -> None:
    """Inf and NaN reach exactly the outputs that have a weight for them."""
    weight = np.zeros((40, 9), np.float32)
    weight[3, 2] = 1.5
    weight[7, 4] = -2.0
    policy = sa.SparsePolicy(
        sa.chain(
            (sa.Layer(sa.CSR.from_dense(weight), np.ones(40, np.float32)),), sa.Observation((9,))
        )
    )
    rows = np.zeros((21, 9), np.float32)
    rows[11, 2] = np.inf
    rows[11, 4] = np.nan
    expected = np.ones((21, 40), np.float32)
    expected[11, 3] = np.inf
    expected[11, 7] = np.nan
    for isa in ISAS:
        for format in FORMATS:
            act = sa.compile(policy, isa=isa, format=format)
            assert same_bits(act(rows), expected)
            assert same_bits(act(rows[11]), expected[11])


def test_a_present_zero_touches_its_input() -> None:
    """In a dense layer every entry is part of the sum: 0 * Inf is NaN there."""
    layer = sa.Layer(np.zeros((3, 2), np.float32), np.zeros(3, np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((2,))))
    row = np.array([np.inf, 1], np.float32)
    for isa in ISAS:
        for format in FORMATS:
            assert np.isnan(sa.compile(policy, isa=isa, format=format)(row)).all()


def test_dense_refuses_an_order_it_cannot_follow() -> None:
    policy = random_policy(np.random.default_rng(1), (9, 8, 4), 0.3, runs=3)
    with pytest.raises(
        ValueError, match="'dense' cannot follow the structure and order of layer 0"
    ):
        sa.compile(policy, format="dense")
    sa.compile(policy.repack("ascending"), format="dense")
