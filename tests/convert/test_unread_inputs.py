"""Inputs that nothing reads: they are not taken, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

import sparseagent as sa
from sparseagent.convert.unread_inputs import drop_unread_inputs
from sparseagent.ops import Linear, Observe
from sparseagent.ops.map import Map
from sparseagent.program import Program, Span
from sparseagent.reference import forward_exact


def sparse(rows: int, width: int, columns: list[int], seed: int = 0) -> sa.Layer:
    weight = np.zeros((rows, width), np.float32)
    weight[:, columns] = np.random.default_rng(seed).standard_normal((rows, len(columns)))
    return sa.Layer(sa.CSR.from_dense(weight), np.ones(rows, np.float32), "tanh")


STEPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float64": {"dtype": "float64"},
    "images": {"dtype": "uint8", "scale": np.array([255.0])},
    "normalised": {"shift": np.arange(12.0), "scale": 1 + np.arange(12.0), "low": -5, "high": 5},
    "in float32": {"shift": np.arange(12.0), "precision": "float32", "dtype": "int64"},
    "bool": {"dtype": "bool", "shift": np.arange(12.0)},
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("batch", [1, 3, 16, 33])
def test_only_what_is_read_is_taken_and_no_bit_changes(name: str, batch: int) -> None:
    step = sa.Observation((3, 4), **STEPS[name])
    policy = sa.SparsePolicy(sa.chain([sparse(5, 12, [1, 2, 7, 11])], step))
    taken = drop_unread_inputs(policy)
    assert taken.observation.columns is not None
    assert taken.observation.columns.tolist() == [1, 2, 7, 11]
    assert taken.observation.size == 4
    assert taken.layers[0].shape == (5, 4)
    assert taken.input_size == 12
    assert taken.unused_inputs == {"observation": (0, 3, 4, 5, 6, 8, 9, 10)}
    random = np.random.default_rng(1)
    x = (20 * random.standard_normal((batch, 3, 4))).astype(np.dtype(step.dtype))
    expected = forward_exact(policy.program, x)
    np.testing.assert_array_equal(forward_exact(taken.program, x), expected)
    for policy in (taken, sa.load(taken.to_bytes())):
        actions, _ = sa.compile(policy, tune=0).predict(x)
        np.testing.assert_array_equal(actions, expected)


def test_stretches_of_a_slot_move_up() -> None:
    """Features 0-1 feed a map, 4-7 a layer that reads half of them, the rest nothing."""
    slots = {"x": 9, "m": 2, "y": 3}
    ops = (
        Observe((), (Span("x", 0, 9),), "observation", sa.Observation((9,))),
        Map((Span("x", 1, 3),), (Span("m", 0, 2),), activation="relu"),
        Linear((Span("m", 0, 2), Span("x", 4, 8)), (Span("y", 0, 3),), sparse(3, 6, [0, 1, 3, 5])),
    )
    policy = sa.SparsePolicy(Program(slots, ops, {"action": Span("y", 0, 3)}))
    taken = drop_unread_inputs(policy)
    assert taken.observation.columns is not None
    assert taken.observation.columns.tolist() == [1, 2, 5, 7]
    assert taken.layers[0].shape == (3, 4)
    x = np.random.default_rng(0).standard_normal((6, 9)).astype(np.float32)
    np.testing.assert_array_equal(sa.compile(taken, tune=0)(x), forward_exact(policy.program, x))


def test_what_is_read_whole_or_named_by_categories_stays() -> None:
    for step in (sa.Observation((4,)), sa.Observation((2,), "int64", categories=(2, 2))):
        policy = sa.SparsePolicy(sa.chain([sparse(3, 4, [0, 1, 2, 3])], step))
        assert drop_unread_inputs(policy) is policy
    hot = sa.Observation((2,), "int64", categories=(2, 2))
    policy = sa.SparsePolicy(sa.chain([sparse(3, 4, [1])], hot))
    assert drop_unread_inputs(policy) is policy


def test_one_feature_stays_of_an_input_that_nothing_reads() -> None:
    layer = replace(sparse(3, 4, [1]), weight=sa.CSR.from_dense(np.zeros((3, 4), np.float32)))
    policy = sa.SparsePolicy(sa.chain([layer], sa.Observation((4,))))
    taken = drop_unread_inputs(policy)
    assert taken.observation.size == 1
    x = np.full((2, 4), np.nan, np.float32)
    got = sa.compile(taken, tune=0)(x)
    np.testing.assert_array_equal(got, sa.compile(policy, tune=0)(np.zeros_like(x)))


def test_conversion_drops_them(tmp_path: Any) -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    module[0].weight.data[:, [0, 4]] = 0
    policy = sa.from_torch(module)
    assert policy.unused_inputs == {"observation": (0, 4)}
    assert policy.metadata["source_shapes"] == [[8, 6], [2, 8]]
    policy.save(tmp_path / "p.safetensors")
    assert sa.load(tmp_path / "p.safetensors").observation.size == 4


@pytest.mark.parametrize(
    "columns", [[], [1, 1], [2, 1], [-1, 2], [0, 4], np.zeros((1, 2), np.int32)]
)
def test_columns_that_do_not_rise_within_the_row_are_refused(columns: Any) -> None:
    with pytest.raises(ValueError, match="columns"):
        sa.Observation((4,), columns=np.array(columns, np.int32))
    with pytest.raises(ValueError, match="columns"):
        sa.Observation((2,), "int64", categories=(2, 2), columns=np.array([0], np.int32))
