"""Arrays of features: what graphs of torch and ONNX compute with, as values of a `Builder`.

A row of a batch is an array of any shape; its features lie in C order. Reshaping, slicing, joining
and repeating only choose features; arithmetic emits ops. Constants are NumPy arrays, with the batch
axis of their graph or without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.builder import Builder, Value
from sparseagent.csr import MAX_WIDTH, Float32
from sparseagent.unsupported import UnsupportedError

#: What stands for the batch in shapes: a number that no graph is likely to name.
BATCH = 7919


@dataclass(frozen=True)
class Note:
    """What a value is known to be, so that a norm is recognised that a graph spells out.

    Attributes:
        kind: `"square"`, `"mean"`, `"minus mean"`, `"centred"` (x minus its mean), `"mean square"`.
        of: the row that it is made of.
        eps: added to a mean square.
    """

    kind: str
    of: Value
    eps: float = 0.0


@dataclass(frozen=True, eq=False)
class Spread:
    """`sqrt(mean(x^2) + eps)` of a row, or its inverse: nothing but a divisor of that row."""

    note: Note
    full_shape: tuple[int, ...]
    inverse: bool = False


@dataclass(frozen=True, eq=False)
class Features:
    """A value with a shape.

    Attributes:
        builder: where ops go.
        value: its features.
        shape: of one row, the batch axis left out; the graph's axis 0 is the batch.
        batch: how many rows the graph believes that there are.
        note: what the value is known to be.
    """

    builder: Builder
    value: Value
    shape: tuple[int, ...]
    batch: int = BATCH
    note: Note | None = None

    @property
    def full_shape(self) -> tuple[int, ...]:
        """The shape as the graph sees it: the batch before the row."""
        return (self.batch, *self.shape)

    # Choosing features

    def reshape(self, shape: Sequence[int]) -> Features:
        """Another shape of the same features; `shape` names the batch, by its size or -1."""
        sizes = [int(n) for n in shape]
        rest = sizes[1:]
        if sizes[:1] == [-1] and -1 not in rest:
            sizes[0] = self.batch if math.prod(rest) == self.value.size else -1
        if not sizes or sizes[0] != self.batch or rest.count(-1) > 1 or not all(rest):
            raise UnsupportedError(
                f"reshape: expected the batch to stay the first axis, got {_shown(shape)} for "
                f"{_shown(self.full_shape)}"
            )
        if -1 in rest:
            rest[rest.index(-1)] = self.value.size // abs(math.prod(rest))
        if math.prod(rest) != self.value.size:
            raise ValueError(
                f"reshape: expected {self.value.size} features, got {_shown(shape)} for "
                f"{_shown(self.full_shape)}"
            )
        return self._shaped(self.value, tuple(rest))

    def flatten(self) -> Features:
        """Shape `[n]`."""
        return self._shaped(self.value, (self.value.size,))

    def index(self, places: NDArray[np.int64]) -> Features:
        """The features of these numbers, in their shape."""
        if places.size == 0 or places.size > MAX_WIDTH:
            raise ValueError(f"index: expected 1 to {MAX_WIDTH} features, got {places.size}")
        flat = places.ravel()
        first = int(flat[0])
        if np.array_equal(flat, np.arange(first, first + flat.size)):
            value = self.value[first : first + flat.size]
        elif self.value.size == 1:
            value = self.builder.repeat(self.value, flat.size)
        else:
            value = self.value.take(flat)
        return self._shaped(value, places.shape)

    def numbers(self) -> NDArray[np.int64]:
        """The numbers of the features, in their shape: what indexing is tried on."""
        return np.arange(self.value.size).reshape(self.shape)

    def axis(self, axis: int) -> int:
        """An axis of the graph as one of the row; the batch is refused."""
        count = len(self.shape) + 1
        if not -count <= axis < count:
            raise ValueError(f"axis: expected one of {count}, got {axis}")
        if axis % count == 0:
            raise UnsupportedError("axis: expected one of the row, got the batch's")
        return axis % count - 1

    def narrow(self, axis: int, start: int, stop: int | None, step: int = 1) -> Features:
        """Places `[start, stop)` of an axis of the graph, counted as Python counts."""
        if axis in (0, -len(self.shape) - 1):
            if (start, step) == (0, 1) and (stop is None or stop >= self.batch):
                return self
            raise UnsupportedError("slice: expected the whole batch")
        row = self.axis(axis)
        return self.index(self.numbers()[(*(slice(None),) * row, slice(start, stop, step))])

    def select(self, axis: int, place: int) -> Features:
        """One place of an axis of the graph; the axis goes."""
        row = self.axis(axis)
        if not -self.shape[row] <= place < self.shape[row]:
            raise ValueError(f"select: expected a place of {self.shape[row]}, got {place}")
        return self.index(np.take(self.numbers(), place, axis=row))

    def permute(self, axes: Sequence[int]) -> Features:
        """Axes of the graph in another order; the batch stays."""
        count = len(self.shape) + 1
        order = [axis % count for axis in axes]
        if sorted(order) != list(range(count)) or order[0] != 0:
            raise UnsupportedError(
                f"permute: expected the batch to stay the first axis, got {list(axes)}"
            )
        return self.index(self.numbers().transpose([axis - 1 for axis in order[1:]]))

    def split(self, sizes: Sequence[int], axis: int) -> list[Features]:
        """Parts of these sizes along an axis of the graph."""
        row = self.axis(axis)
        if sum(sizes) != self.shape[row] or min(sizes, default=0) < 1:
            raise ValueError(
                f"split: expected parts of {self.shape[row]} features, got {list(sizes)!s:.80}"
            )
        ends = np.cumsum(sizes).tolist()
        starts = [0, *ends[:-1]]
        return [self.narrow(row + 1, a, b) for a, b in zip(starts, ends, strict=True)]

    def chunk(self, count: int, axis: int) -> list[Features]:
        """At most so many parts of one size, the last one smaller, as torch cuts them."""
        size = self.shape[self.axis(axis)]
        return self.split(chunk_sizes(size, -(-size // count)), axis)

    def squeeze(self, axes: Sequence[int] | None) -> Features:
        """Without axes of one place: these, or all."""
        rows = range(len(self.shape)) if axes is None else [self.axis(axis) for axis in axes]
        gone = {row for row in rows if self.shape[row] == 1}
        shape = tuple(n for row, n in enumerate(self.shape) if row not in gone)
        return self._shaped(self.value, shape)

    def unsqueeze(self, axes: Sequence[int]) -> Features:
        """With an axis of one place at each of these places of the result."""
        count = len(self.shape) + 1 + len(axes)
        places = sorted(axis % count for axis in axes)
        if 0 in places or not all(-count <= axis < count for axis in axes):
            raise UnsupportedError("unsqueeze: expected the batch to stay the first axis")
        shape = list(self.full_shape)
        for place in places:
            shape.insert(place, 1)
        return self._shaped(self.value, tuple(shape[1:]))

    def expand(self, shape: Sequence[int]) -> Features:
        """Repeated along axes of one place, to a shape of the row."""
        target = tuple(int(n) for n in shape)
        return self if target == self.shape else self.index(np.broadcast_to(self.numbers(), target))

    # Arithmetic

    def map(self, **attributes: Any) -> Features:
        """A `Map` of every feature by itself."""
        return self._with(self.builder.map(self.value, **attributes))

    def activation(self, name: str, alpha: float | None = None) -> Features:
        """One of `ACTIVATIONS`."""
        return self._with(self.builder.activation(self.value, name, alpha))

    def clamp(self, low: float | None, high: float | None) -> Features:
        """Bounds; None for none. A lower bound above the upper one gives the upper one."""
        if low is not None and high is not None and low > high:
            low = high
        return self._with(self.builder.clamp(self.value, low, high))

    def affine(self, scale: Any, shift: Any) -> Features:
        """`a x + b`; constants as wide as they make the result."""
        a, b = np.asarray(scale, np.float64), np.asarray(shift, np.float64)
        shape = np.broadcast_shapes(self.shape, self._row(a).shape, self._row(b).shape)
        x = self.expand(shape)
        parts = [np.broadcast_to(self._row(part), shape).ravel() for part in (a, b)]
        result = x._with(self.builder.affine(x.value, *parts))
        if self.note is None or a.size != 1 or b.size != 1:
            return result
        factor, offset = float(a.reshape(-1)[0]), float(b.reshape(-1)[0])
        if self.note.kind == "mean square" and factor == 1:
            return replace(result, note=replace(self.note, eps=self.note.eps + offset))
        minus = self.note.kind == "mean" and (factor, offset) == (-1, 0)
        return replace(result, note=Note("minus mean", self.note.of)) if minus else result

    def add(self, other: Any) -> Features:
        """`x + y`."""
        if not isinstance(other, Features):
            return self.affine(1.0, other)
        x, y = self._alike(other)
        result = x._with(self.builder.combine("add", x.value, y.value))
        for one, mean in ((self, other.note), (other, self.note)):
            if mean is not None and mean == Note("minus mean", one.value):
                return replace(result, note=Note("centred", one.value))
        return result

    def negate(self) -> Features:
        """`-x`."""
        return self.affine(-1.0, 0.0)

    def multiply(self, other: Any) -> Features:
        """`x y`."""
        if isinstance(other, Spread):
            return self._over(other, inverse=True)
        if not isinstance(other, Features):
            return self.affine(other, 0.0)
        x, y = self._alike(other)
        result = x._with(self.builder.combine("multiply", x.value, y.value))
        same = self.value == other.value
        return replace(result, note=Note("square", self.value)) if same else result

    def divide(self, divisor: Any) -> Features:
        """`x / c`, as a multiplication with the reciprocal."""
        if isinstance(divisor, Spread):
            return self._over(divisor, inverse=False)
        if isinstance(divisor, Features):
            raise UnsupportedError("division: expected a constant divisor, got a computed one")
        array = np.asarray(divisor, np.float64)
        if not array.all():
            raise ValueError("division: expected a divisor without zeros")
        return self.affine(1.0 / array, 0.0)

    def root(self, *, inverse: bool = False) -> Spread:
        """`sqrt(x)`, or `1 / sqrt(x)`, of a row's mean square, which a row may be divided by."""
        if self.note is None or self.note.kind != "mean square":
            raise UnsupportedError(
                "square root: expected that of a row's mean square, as in a norm, got another one"
            )
        return Spread(self.note, self.full_shape, inverse)

    def _over(self, spread: Spread, *, inverse: bool) -> Features:
        """Divided by its own spread: a layer norm if it is centred, else an RMS norm."""
        if spread.inverse != inverse or spread.note.of != self.value:
            raise UnsupportedError("division: expected a row over its own spread, got another one")
        centred = self.note is not None and self.note.kind == "centred"
        value = self.note.of if centred and self.note is not None else self.value
        eps = spread.note.eps or float(np.finfo(np.float32).tiny)
        return self._with(self.builder.norm(value, "layer" if centred else "rms", eps))

    def lerp(self, other: Features, weight: Any) -> Features:
        """`x + w (y - x)`, w constant."""
        x, y = self._alike(other)
        parts = np.broadcast_to(self._row(np.asarray(weight, np.float64)), x.shape)
        rounded = parts.ravel().astype(np.float32)
        return x._with(self.builder.combine("lerp", x.value, y.value, rounded))

    def constant(self, array: Any) -> Features:
        """A constant of the graph as features; those that are computed as they are."""
        if isinstance(array, Features):
            return array
        row = self._row(np.asarray(array, np.float32))
        if array.ndim != len(self.shape) + 1:
            raise UnsupportedError("constant: expected the batch's axis before the row's")
        return self._shaped(self.builder.constant(row.ravel(), self.value), row.shape)

    def linear(self, weight: Float32, bias: Float32 | None, key: str | None = None) -> Features:
        """`y = W x + b` over the last axis.

        Args:
            weight: float32 `[out, in]`.
            bias: float32 `[out]` or None.
            key: name of the weight among the masks.
        """
        if math.prod(self.shape[:-1]) != 1 or not self.shape:
            raise UnsupportedError(
                f"linear: expected rows of one axis, got {_shown(self.full_shape)}; "
                "flatten it first"
            )
        value = self.builder.linear(self.value, weight, bias, key=key)
        return self._shaped(value, (*self.shape[:-1], len(weight)))

    def norm(self, rule: str, eps: float, axes: int) -> Features:
        """A `Norm` over the last `axes` axes, which are all that have more than one place."""
        if math.prod(self.shape[: len(self.shape) - axes]) == 1:
            return self._with(self.builder.norm(self.value, rule, eps))
        groups = math.prod(self.shape[: len(self.shape) - axes])
        size = self.value.size // groups
        parts = [
            self.builder.norm(self.value[start : start + size], rule, eps)
            for start in range(0, self.value.size, size)
        ]
        return self._with(self.builder.concat(*parts))

    def batch_norm(self, mean: Any, var: Any, eps: float, scale: Any, shift: Any) -> Features:
        """Batch norm at evaluation, over the axis behind the batch."""
        channels = (-1, *(1,) * (len(self.shape) - 1))
        mean, var, scale, shift = (
            np.broadcast_to(np.asarray(part, np.float64).reshape(channels), self.shape).ravel()
            for part in (mean, var, scale, shift)
        )
        if not (var + eps > 0).all():
            raise ValueError("batch norm: expected positive variances")
        return self._with(
            self.builder.batch_norm(self.value, mean, var, eps=eps, scale=scale, shift=shift)
        )

    def softmax(self, axis: int) -> Features:
        """The exponents' shares along an axis of the graph."""
        groups, strided = self._groups([self.axis(axis)])
        return self._with(self.builder.reduce("softmax", self.value, groups, strided=strided))

    def mean(self, axes: Sequence[int] | None, *, keep: bool, total: bool = False) -> Features:
        """Mean, or sum, along axes of the graph; None for all of the row's."""
        rows = sorted({self.axis(a) for a in axes} if axes else range(len(self.shape)))
        kept = [n for row, n in enumerate(self.shape) if row not in rows]
        shape = tuple(1 if row in rows else n for row, n in enumerate(self.shape))
        groups, strided = self._groups(rows)
        size = self.value.size // groups
        value = self.value
        if size > 1 and total:
            ones = np.ones(size, np.float32)
            value = self.builder.reduce("weighted_sum", value, groups, strided=strided, weight=ones)
        elif size > 1:
            value = self.builder.reduce("mean", value, groups, strided=strided)
        result = self._shaped(value, shape if keep else tuple(kept))
        if not keep or total or groups != 1:
            return result
        squares = self.note is not None and self.note.kind == "square"
        of = self.note.of if squares and self.note is not None else self.value
        return replace(result, note=Note("mean square" if squares else "mean", of))

    def _groups(self, rows: Sequence[int]) -> tuple[int, bool]:
        """How a `Reduce` sees these neighbouring axes of the row: groups, and whether strided."""
        before = math.prod(self.shape[: rows[0]]) if rows else self.value.size
        after = math.prod(self.shape[rows[-1] + 1 :]) if rows else 1
        joined = list(rows) == list(range(rows[0], rows[-1] + 1)) if rows else True
        if not joined or (before > 1 and after > 1):
            raise UnsupportedError(
                f"reduction: expected the first or the last axes of a row, got axes "
                f"{[row + 1 for row in rows]} of {_shown(self.full_shape)}"
            )
        return (after, True) if after > 1 else (before, False)

    def _alike(self, other: Features) -> tuple[Features, Features]:
        shape = np.broadcast_shapes(self.shape, other.shape)
        return self.expand(shape), other.expand(shape)

    def _row(self, array: NDArray[Any]) -> NDArray[Any]:
        """A constant of the graph without its batch axis."""
        if array.ndim <= len(self.shape):
            return array
        if array.ndim > len(self.shape) + 1 or not (array == array[:1]).all():
            raise UnsupportedError("constant: expected the same for the whole batch")
        row: NDArray[Any] = array[0]
        return row

    def _with(self, value: Value) -> Features:
        return self._shaped(value, self.shape)

    def _shaped(self, value: Value, shape: tuple[int, ...]) -> Features:
        return Features(self.builder, value, shape, self.batch)


def concat(parts: Sequence[Features], axis: int) -> Features:
    """Joined along an axis of the graph."""
    row = parts[0].axis(axis)
    shapes = [part.shape[:row] + part.shape[row + 1 :] for part in parts]
    if len({(len(part.shape), shape) for part, shape in zip(parts, shapes, strict=True)}) != 1:
        raise ValueError(
            f"concat: expected shapes that differ in axis {row + 1} alone, got "
            f"{', '.join(_shown(part.full_shape) for part in parts)!s:.200}"
        )
    builder = parts[0].builder
    value = builder.concat(*(part.value for part in parts))
    flat = Features(builder, value, (value.size,), parts[0].batch)
    starts = np.cumsum([0, *(part.value.size for part in parts)])
    numbers = [part.numbers() + start for part, start in zip(parts, starts, strict=False)]
    return flat.index(np.concatenate(numbers, axis=row))


def stack(parts: Sequence[Features], axis: int) -> Features:
    """Joined along a new axis of the graph."""
    return concat([part.unsqueeze([axis]) for part in parts], axis)


def chunk_sizes(total: int, size: int) -> list[int]:
    """`total` in parts of `size`, the last one smaller."""
    if size < 1:
        raise ValueError(f"split: expected a positive size, got {size}")
    return [min(size, total - start) for start in range(0, total, size)]


def _shown(shape: Sequence[int]) -> str:
    return "[" + ", ".join("B" if n == BATCH else str(n) for n in shape) + "]"
