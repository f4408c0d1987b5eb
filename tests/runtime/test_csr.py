"""CSR: what it stores, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_csr

import sparseagent as sa

GOOD: dict[str, Any] = {
    "shape": (2, 3),
    "indptr": np.array([0, 1, 3], np.int32),
    "indices": np.array([2, 0, 1], np.int32),
    "values": np.array([1, 2, 3], np.float32),
}


@given(
    out=st.integers(1, 20),
    width=st.integers(1, 20),
    sparsity=st.sampled_from([0.0, 0.5, 1.0]),
    runs=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_round_trip(out: int, width: int, sparsity: float, runs: int, seed: int) -> None:
    csr = random_csr(np.random.default_rng(seed), out, width, sparsity, runs)
    dense = csr.to_dense()
    plain = csr.ascending()
    assert np.array_equal(plain.to_dense(), dense)
    assert plain.is_ascending()
    assert np.array_equal(sa.CSR.from_dense(dense).indices, plain.indices)
    assert csr.nnz == np.count_nonzero(dense)
    assert csr.sparsity == pytest.approx(1 - csr.nnz / (out * width))


def test_hand_checked() -> None:
    csr = sa.CSR(**GOOD)
    assert csr.to_dense().tolist() == [[0, 0, 1], [2, 3, 0]]
    assert csr.rows().tolist() == [0, 1, 1]
    assert csr.is_ascending()
    reordered = sa.CSR(**{**GOOD, "indices": np.array([2, 1, 0], np.int32)})
    assert not reordered.is_ascending()


def test_rows_in_blocks() -> None:
    weight = np.zeros((5, 6), np.float32)
    weight[:4, [1, 5]] = 2
    weight[4, 3] = 1
    csr = sa.CSR.from_dense(weight)
    assert csr.in_blocks(1)
    assert csr.in_blocks(2)
    assert csr.in_blocks(4)
    assert not csr.in_blocks(3)
    assert not csr.in_blocks(8)
    swapped = csr.indices.copy()
    swapped[2:4] = [5, 1]  # the same columns in another order
    assert not sa.CSR(csr.shape, csr.indptr, swapped, csr.values).in_blocks(2)


def test_arrays_are_copied_and_frozen() -> None:
    values = GOOD["values"].copy()
    csr = sa.CSR(**{**GOOD, "values": values})
    values[0] = 99
    assert csr.values[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        csr.values[0] = 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (0, 3)}, "shape: expected"),
        ({"shape": (1 << 21, 3)}, "shape: expected"),
        ({"shape": (1 << 20, 1 << 20)}, "shape: expected at most"),
        ({"runs": 0}, "runs: expected 1 to 64, got 0"),
        ({"indptr": np.array([0, 3], np.int32)}, "indptr: expected 3 entries"),
        ({"indptr": np.array([0, 4, 3], np.int32)}, "indptr: expected to rise"),
        ({"indptr": np.array([1, 2, 3], np.int32)}, "indptr: expected to rise"),
        ({"indptr": np.array([0, 1, 9], np.int32)}, "indptr: expected to rise"),
        ({"indices": np.array([2, 0, 3], np.int32)}, r"indices: expected columns in \[0, 3\)"),
        ({"indices": np.array([2, 0, -1], np.int32)}, r"indices: expected columns in \[0, 3\)"),
        ({"indices": np.array([2, 1, 1], np.int32)}, "indices: expected unique columns"),
        ({"indices": np.array([2, 1], np.int32)}, "indices: expected as many as values"),
        ({"values": np.array([1, np.inf, 3], np.float32)}, "values: expected finite"),
        ({"values": np.ones((3, 1), np.float32)}, "values: expected 1 axes"),
    ],
)
def test_bad_structure(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sa.CSR(**{**GOOD, **change})


def test_repeated_columns_are_found_in_matrices_of_any_size() -> None:
    for width in (40, 1 << 20):
        shape = (100, width)
        indptr = np.zeros(101, np.int32)
        indptr[50:] = 3
        for columns, good in (([7, 9, 8], True), ([7, 9, 7], False)):
            arrays = (indptr, np.array(columns, np.int32), np.ones(3, np.float32))
            if good:
                assert sa.CSR(shape, *arrays).nnz == 3
            else:
                with pytest.raises(ValueError, match="unique columns"):
                    sa.CSR(shape, *arrays)


@pytest.mark.parametrize("name", ["indptr", "indices", "values"])
def test_bad_dtype(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: expected dtype"):
        sa.CSR(**{**GOOD, name: GOOD[name].astype(np.float64)})
