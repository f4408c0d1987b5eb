"""CSR: the exchange format for a pruned weight matrix, with a stored summation order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent import _core

#: Widths above this are refused: 32-bit offsets into padded buffers must never overflow.
MAX_WIDTH: int = _core.MAX_WIDTH
MAX_NONZEROS: int = _core.MAX_NONZEROS
MAX_RUNS: int = _core.MAX_RUNS
#: As many axes as every NumPy can give an array.
MAX_AXES = 32

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]


class ReadOnly:
    """A dataclass whose arrays come out of a pickle or a deep copy as they were: read-only."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class CSR(ReadOnly):
    """A sparse matrix `[out, in]` whose rows are added up in the order in which they are stored.

    Row `r` owns `runs` consecutive runs of entries. Each run is one chain of fused multiply-adds;
    the first starts from the bias, the others from 0, and a fixed pairwise tree joins them.
    With `runs=1`, the usual case, this is plain CSR. A stored entry is part of the sum even if its
    value is 0; an absent one never touches its input.

    Attributes:
        shape: `(out, in)`.
        indptr: int32 `[out * runs + 1]`, starts at 0, never decreases, ends at `nnz`.
        indices: int32 `[nnz]`, columns in `[0, in)`, unique within a row, in summation order.
        values: float32 `[nnz]`, finite.
        runs: number of runs per row, at least 1.

    Raises:
        ValueError: an array breaks one of the rules above; the message names it.
        TypeError: an array has another dtype.
    """

    shape: tuple[int, int]
    indptr: Int32
    indices: Int32
    values: Float32
    runs: int = 1

    def __post_init__(self) -> None:
        check_shape("shape", self.shape)
        if not 1 <= self.runs <= MAX_RUNS:
            raise ValueError(f"runs: expected 1 to {MAX_RUNS}, got {self.runs}")
        for name, dtype in (("indptr", np.int32), ("indices", np.int32), ("values", np.float32)):
            object.__setattr__(self, name, frozen_array(name, getattr(self, name), dtype, 1))
        _check_structure(self)

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self.values.size)

    @property
    def sparsity(self) -> float:
        """Fraction of absent entries, in [0, 1]."""
        out, width = self.shape
        return 1.0 - self.nnz / (out * width)

    @classmethod
    def from_dense(cls, weight: Any, mask: Any = None) -> CSR:
        """Store entries of a matrix in ascending column order.

        Args:
            weight: float32 `[out, in]`.
            mask: bool `[out, in]`, the entries to store; None for those that are not zero.
        """
        dense = frozen_array("weight", weight, np.float32, 2)
        check_shape("weight: shape", dense.shape)
        chosen = dense if mask is None else frozen_array("mask", mask, np.bool_, 2)
        if chosen.shape != dense.shape:
            raise ValueError(f"mask: expected the shape {dense.shape}, got {chosen.shape}")
        rows, columns = np.nonzero(chosen)
        counts = np.bincount(rows, minlength=dense.shape[0])
        indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        return cls(dense.shape, indptr, columns.astype(np.int32), dense[rows, columns])

    def with_values(self, values: Float32) -> CSR:
        """The same structure with other values; only they are checked, so it is quick.

        Args:
            values: float32 `[nnz]`, finite, in the stored order.

        Raises:
            ValueError: another size, or a number is not finite.
            TypeError: another dtype.
        """
        fresh = frozen_array("values", values, np.float32, 1)
        if fresh.size != self.nnz:
            raise ValueError(f"values: expected {self.nnz} numbers, got {fresh.size}")
        check_finite("values", fresh)
        other = object.__new__(CSR)  # the structure was checked when this one was made
        for name in ("shape", "indptr", "indices", "runs"):
            object.__setattr__(other, name, getattr(self, name))
        object.__setattr__(other, "values", fresh)
        return other

    def rows(self) -> NDArray[np.int64]:
        """Row of every stored entry, int64 `[nnz]`."""
        run = np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))
        return run // self.runs

    def to_dense(self) -> Float32:
        """The matrix as float32 `[out, in]`, absent entries 0."""
        dense = np.zeros(self.shape, np.float32)
        dense[self.rows(), self.indices] = self.values
        return dense

    def ascending(self) -> CSR:
        """The same matrix with one run per row and ascending columns: the plain order."""
        rows = self.rows()
        order = np.lexsort((self.indices, rows))
        counts = np.bincount(rows, minlength=self.shape[0])
        indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        return CSR(self.shape, indptr, self.indices[order], self.values[order])

    def is_ascending(self) -> bool:
        """Whether the stored order is the plain one: one run per row, ascending columns."""
        if self.runs != 1:
            return False
        rising = np.diff(self.indices) > 0
        first_of_row = self.indptr[1:-1]
        inner = first_of_row[(first_of_row > 0) & (first_of_row < self.nnz)]
        rising[inner - 1] = True
        return bool(rising.all())

    def in_blocks(self, rows: int) -> bool:
        """Whether every aligned group of `rows` neighbours stores the same columns alike.

        So do the masks of `rows` x 1 blocks. The last group may have fewer rows.
        """
        if self.runs != 1:
            return False
        first = np.arange(self.shape[0]) // rows * rows
        lengths = np.diff(self.indptr)
        if not np.array_equal(lengths, lengths[first]):
            return False
        places = np.arange(self.nnz) + np.repeat(self.indptr[first] - self.indptr[:-1], lengths)
        return bool((self.indices == self.indices[places]).all())


def nearest_float32(value: float) -> float:
    """What the compiled core holds of `value`; infinite where that is beyond float32."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def frozen_array(name: str, array: Any, dtype: Any, ndim: int) -> NDArray[Any]:
    """A contiguous read-only copy of `array`; raises if its dtype or number of axes differs."""
    given = np.asarray(array)
    if given.dtype != np.dtype(dtype):
        raise TypeError(f"{name}: expected dtype {np.dtype(dtype)}, got {given.dtype}")
    if given.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} axes, got shape {given.shape}")
    copy = np.array(given, order="C", copy=True)
    copy.setflags(write=False)
    return copy


def finite_array(name: str, array: Any, ndim: int = 1) -> Float32:
    """As `frozen_array` of float32; also raises for Inf and NaN."""
    copy: Float32 = frozen_array(name, array, np.float32, ndim)
    check_finite(name, copy)
    return copy


def check_finite(name: str, array: Float32) -> None:
    """Raise unless all numbers are finite."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got Inf or NaN")


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Raise unless `shape` is an `(out, in)` that the core can hold."""
    if len(shape) != 2 or not all(1 <= int(n) <= MAX_WIDTH for n in shape):
        raise ValueError(f"{name}: expected (out, in), each in [1, {MAX_WIDTH}], got {shape}")
    if shape[0] * shape[1] > MAX_NONZEROS:
        raise ValueError(f"{name}: expected at most {MAX_NONZEROS} weights, got {shape}")


def _check_structure(csr: CSR) -> None:
    out, width = csr.shape
    if csr.indptr.size != out * csr.runs + 1:
        raise ValueError(
            f"indptr: expected {out * csr.runs + 1} entries for {out} rows of {csr.runs} runs, "
            f"got {csr.indptr.size}"
        )
    if csr.indices.size != csr.values.size:
        raise ValueError(
            f"indices: expected as many as values ({csr.values.size}), got {csr.indices.size}"
        )
    if csr.indptr[0] != 0 or csr.indptr[-1] != csr.nnz or bool((np.diff(csr.indptr) < 0).any()):
        raise ValueError(f"indptr: expected to rise from 0 to nnz ({csr.nnz}) and never to fall")
    if csr.nnz and not 0 <= int(csr.indices.min()) <= int(csr.indices.max()) < width:
        raise ValueError(
            f"indices: expected columns in [0, {width}), got "
            f"{int(csr.indices.min())} to {int(csr.indices.max())}"
        )
    places = csr.rows() * width + csr.indices  # int64
    if _count_distinct(places, out * width) != csr.nnz:
        raise ValueError("indices: expected unique columns within a row, got a repeated one")
    check_finite("values", csr.values)


def _count_distinct(places: NDArray[np.int64], size: int) -> int:
    """How many different numbers in [0, size) there are among `places`."""
    if size > (1 << 20) + 64 * places.size:  # marks would take far more memory than the matrix
        return int(np.unique(places).size)
    seen = np.zeros(size, np.bool_)
    seen[places] = True
    return int(np.count_nonzero(seen))
