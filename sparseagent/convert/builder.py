"""Builds a Program op by op: the part of conversion without torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.fold import Mix, fold
from sparseagent.convert.masks import Masks, structured
from sparseagent.csr import CSR, Float32, nearest_float32
from sparseagent.ops import Layer, Linear, Observation, Observe
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.ops.combine import Combine
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.reduce import Reduce
from sparseagent.program import MAX_OPS, Op, Program, Span

#: Normalised means up to this size lose three bits at most where they are folded into a matrix.
_SMALL_MEAN = 8.0
#: Stretches of slots that one value may be scattered over: an image whose axes are exchanged.
_MOST_SPANS = 1 << 16


@dataclass(frozen=True)
class Value:
    """Features that ops of a builder give: spans of slots, one behind the other."""

    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        if len(self.spans) > _MOST_SPANS:
            raise ValueError(
                f"expected features in at most {_MOST_SPANS:,} stretches, got {len(self.spans):,}"
            )

    @property
    def size(self) -> int:
        """Number of features."""
        return sum(span.size for span in self.spans)

    def __getitem__(self, part: slice) -> Value:
        """Features `[start, stop)`; steps are for `take`."""
        start, stop, step = part.indices(self.size)
        if step != 1 or start >= stop:
            raise ValueError(f"slice: expected features of {self.size}, got {part}")
        spans, before = [], 0
        for span in self.spans:
            first, last = max(start - before, 0), min(stop - before, span.size)
            if first < last:
                spans.append(Span(span.slot, span.start + first, span.start + last))
            before += span.size
        return Value(tuple(spans))

    def take(self, features: Iterable[int]) -> Value:
        """The features of these numbers, in this order, repeated ones too."""
        slots, places = self.places()
        chosen = np.fromiter(features, np.int64)
        spans: list[Span] = []
        for slot, place in zip(slots[chosen], places[chosen], strict=True):
            if spans and spans[-1].slot == slot and spans[-1].stop == place:
                spans[-1] = replace(spans[-1], stop=int(place) + 1)
            else:
                spans.append(Span(str(slot), int(place), int(place) + 1))
        return Value(tuple(spans))

    def places(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The slot of every feature, and its number there."""
        slots = np.repeat([s.slot for s in self.spans], [s.size for s in self.spans])
        return slots, np.concatenate([np.arange(s.start, s.stop) for s in self.spans])


class Builder:
    """Collects ops, each behind what it reads; `program` folds them and lays them out.

    Every method takes and gives a `Value` and emits at most one op. `path` is what messages call
    the part, such as `"module '2' (Linear)"`. Concatenation, slices and repeated use of a value
    cost nothing.

    Args:
        masks: which weights exist, by their keys; None for those that are not zero.

    Attributes:
        matrices: the shape `[out, in]` and sparsity of every linear map, as the source has it.
    """

    def __init__(self, masks: Masks | None = None) -> None:
        self.matrices: list[tuple[tuple[int, int], float]] = []
        self._masks = masks
        self._keys: list[str] = []
        self._ops: list[Op] = []
        self._sizes: dict[str, int] = {}
        self._placed: dict[str, Span] = {}

    @property
    def has_masks(self) -> bool:
        """Whether masks say which weights exist; then their structure is to be kept."""
        return self._masks is not None

    @property
    def ops(self) -> tuple[Op, ...]:
        """What has been emitted so far."""
        return tuple(self._ops)

    def observe(self, step: Observation, name: str = "observation") -> Value:
        """An input, taken through its observation step."""
        return self._emit(Observe((), self._slot(step.size), name, step))

    def linear(
        self,
        x: Value,
        weight: Float32,
        bias: Float32 | None = None,
        *,
        key: str | None = None,
        path: str = "linear",
    ) -> Value:
        """`y = W x + b`.

        Args:
            x: `[in]` features.
            weight: float32 `[out, in]`.
            bias: float32 `[out]`, or None for zeros.
            path: what messages call it.
            key: name of the weight among the masks, such as `"2.weight"`.

        Raises:
            ValueError: a number is not finite, another width than that of `x`, or a mask that does
                not fit.
        """
        added = np.zeros(len(weight), np.float32) if bias is None else bias
        check_finite(path, "weight", weight)
        check_finite(path, "bias", added)
        if weight.shape[1] != x.size:
            raise ValueError(f"{path}: expected {x.size} inputs, got {weight.shape[1]}")
        if self._masks is None or key is None:
            kept = stored(weight)
        else:
            kept = structured(key, weight, self._masks.get(key))
        if key is not None:
            self._keys.append(key)
        layer = Layer(kept, added)
        self.matrices.append((layer.shape, layer.sparsity))
        return self._linear(Linear, x, layer)

    def activation(
        self, x: Value, name: str, alpha: float | None = None, *, path: str = "activation"
    ) -> Value:
        """One of `ACTIVATIONS`; `alpha` is the table's unless given."""
        if name == "identity":
            return x
        given = ACTIVATIONS.get(name, 0.0) if alpha is None else alpha
        return self.map(x, path=path, activation=name, alpha=given)

    def affine(self, x: Value, scale: Any, shift: Any, *, path: str = "affine") -> Value:
        """`a x + b`, both one number or one for each feature."""
        parts = [
            np.broadcast_to(np.asarray(part, np.float64), x.size).astype(np.float32)
            for part in (scale, shift)
        ]
        check_finite(path, "scale", parts[0])
        check_finite(path, "shift", parts[1])
        if (parts[0] == 1).all() and not parts[1].any():
            return x
        return self.map(x, path=path, scale=parts[0], shift=parts[1])

    def clamp(
        self, x: Value, low: float | None, high: float | None, *, path: str = "clamp"
    ) -> Value:
        """Bounds, both rounded to float32; None or an infinite one for no bound."""
        bounds = [
            None if bound is None or bound == end else nearest_float32(bound)
            for bound, end in ((low, -np.inf), (high, np.inf))
        ]
        if bounds == [None, None]:
            return x
        return self.map(x, path=path, low=bounds[0], high=bounds[1])

    def batch_norm(
        self,
        x: Value,
        mean: Any,
        var: Any,
        *,
        eps: float,
        scale: Any = 1.0,
        shift: Any = 0.0,
        path: str = "batch norm",
    ) -> Value:
        """`(x - mean) / sqrt(var + eps) * scale + shift`: batch norm and renorm at evaluation.

        Means of many deviations are subtracted on their own: joined with a matrix they would cost
        it its accuracy.
        """
        mean64 = np.asarray(mean, np.float64)
        factor = np.asarray(scale, np.float64) / np.sqrt(np.asarray(var, np.float64) + eps)
        offset = np.asarray(shift, np.float64)
        if np.abs(mean64 * factor).max(initial=0.0) <= _SMALL_MEAN:
            return self.affine(x, factor, offset - mean64 * factor, path=path)
        return self.affine(self.affine(x, 1.0, -mean64, path=path), factor, offset, path=path)

    def map(self, x: Value, *, path: str = "map", **attributes: Any) -> Value:
        """A `Map` with these attributes; a value of several spans is joined first."""
        joined = self._joined(x)
        return self._emit(_named(path, Map, (joined.spans[0],), self._slot(x.size), **attributes))

    def norm(self, x: Value, rule: str, eps: float, *, path: str = "norm") -> Value:
        """A `Norm` over all features of `x`."""
        joined = self._joined(x)
        return self._emit(_named(path, Norm, joined.spans, self._slot(x.size), rule, eps))

    def combine(
        self, rule: str, x: Value, y: Value, weight: Float32 | None = None, *, path: str = "combine"
    ) -> Value:
        """A `Combine`; a value of one feature meets every feature of the other."""
        if x.size != y.size and 1 in (x.size, y.size):
            size = max(x.size, y.size)
            x, y = (self.repeat(part, size) if part.size == 1 else part for part in (x, y))
        if x.size != y.size:
            raise ValueError(f"{path}: expected values of one size, got {x.size} and {y.size}")
        reads = (self._joined(x).spans[0], self._joined(y).spans[0])
        return self._emit(_named(path, Combine, reads, self._slot(x.size), rule, weight))

    def reduce(
        self,
        rule: str,
        x: Value,
        groups: int = 1,
        *,
        strided: bool = False,
        weight: Float32 | None = None,
        path: str = "reduce",
    ) -> Value:
        """A `Reduce` of `x` in so many groups."""
        joined = self._joined(x)
        size = x.size if rule == "softmax" else groups
        writes = self._slot(size)
        return self._emit(_named(path, Reduce, joined.spans, writes, rule, groups, strided, weight))

    def repeat(self, x: Value, times: int) -> Value:
        """All features of `x`, so many times over."""
        return self._mix(x, np.tile(np.arange(x.size), times))

    def constant(self, values: Float32, near: Value) -> Value:
        """The same numbers for every observation: a matrix that reads `near` with no weight."""
        check_finite("constant", "values", values)
        empty = CSR(
            (values.size, 1),
            np.zeros(values.size + 1, np.int32),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
        )
        return self._linear(Mix, near[:1], Layer(empty, values))

    @staticmethod
    def concat(*values: Value) -> Value:
        """The features of all values, one behind the other."""
        spans: list[Span] = []
        for span in itertools.chain.from_iterable(value.spans for value in values):
            if spans and spans[-1].slot == span.slot and spans[-1].stop == span.start:
                spans[-1] = replace(spans[-1], stop=span.stop)
            else:
                spans.append(span)
        return Value(tuple(spans))

    def program(self, outputs: Mapping[str, Value]) -> Program:
        """The program of what the outputs need, folded.

        Args:
            outputs: values by name; the first is what `act(observations)` gives.

        Raises:
            ValueError: no linear map has a mask though masks were given, or the program is larger
                than one may be.
        """
        if self._masks is not None and not any(key in self._masks for key in self._keys):
            raise ValueError(
                f"masks: expected one for at least one of {self._keys}, got {sorted(self._masks)}"
            )
        joined = {name: self._joined(value).spans[0] for name, value in outputs.items()}
        ops = [
            replace(op, reads=self._finals(op.reads), writes=self._finals(op.writes))
            for op in self._ops
        ]
        spans = {name: self._finals((span,))[0] for name, span in joined.items()}
        sizes = {n: size for n, size in self._sizes.items() if n not in self._placed}
        return fold(Program(sizes, tuple(ops), spans))

    def _slot(self, size: int) -> tuple[Span]:
        name = f"v{len(self._sizes)}"
        self._sizes[name] = size
        return (Span(name, 0, size),)

    def _emit(self, op: Op) -> Value:
        if len(self._ops) >= MAX_OPS:
            raise ValueError(f"module: expected at most {MAX_OPS} ops, got more")
        self._ops.append(op)
        return Value(op.writes)

    def _linear(self, kind: type[Linear], x: Value, layer: Layer) -> Value:
        x, layer = _each_slot_once(x, layer)
        return self._emit(kind(x.spans, self._slot(layer.shape[0]), layer))

    def _mix(self, x: Value, features: NDArray[np.int64]) -> Value:
        """Features of `x` by their numbers, moved by a matrix of ones."""
        rows = features.size
        weight = CSR(
            (rows, x.size),
            np.arange(rows + 1, dtype=np.int32),
            features.astype(np.int32),
            np.ones(rows, np.float32),
        )
        return self._linear(Mix, x, Layer(weight, np.zeros(rows, np.float32)))

    def _joined(self, x: Value) -> Value:
        """`x` in one span: what wrote its parts writes them side by side, or they are copied."""
        x = self.concat(x)
        if len(x.spans) == 1:
            return x
        if len(x.spans) > max(8, x.size // 8):  # a gather: one matrix of ones moves all of it
            slots, places = x.places()
            names = list(dict.fromkeys(slots.tolist()))
            sizes = [self._sizes[name] for name in names]
            starts = dict(zip(names, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
            source = Value(tuple(Span(n, 0, size) for n, size in zip(names, sizes, strict=True)))
            return self._mix(source, np.array([starts[n] for n in slots.tolist()]) + places)
        whole = self._slot(x.size)[0]
        start, seen = 0, set(self._placed)
        for span in x.spans:
            place = Span(whole.slot, start, start + span.size)
            if span.size == self._sizes[span.slot] and span.slot not in seen:
                self._placed[span.slot] = place
            else:
                self._emit(Map((span,), (place,)))
            seen.add(span.slot)
            start += span.size
        return Value((whole,))

    def _finals(self, spans: tuple[Span, ...]) -> tuple[Span, ...]:
        """Where spans lie once parts have been placed side by side."""
        return tuple(self._final(span) for span in spans)

    def _final(self, span: Span) -> Span:
        while (place := self._placed.get(span.slot)) is not None:
            span = Span(place.slot, place.start + span.start, place.start + span.stop)
        return span


def stored(weight: Float32) -> CSR | Float32:
    """`weight` `[out, in]` in the form that a layer keeps: dense without any zero, else CSR."""
    return weight if weight.all() else CSR.from_dense(weight)


def check_finite(path: str, name: str, array: NDArray[Any]) -> None:
    """Raise ValueError unless all numbers are finite."""
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {name}: expected finite numbers, got Inf or NaN")


def _named(path: str, kind: Any, *arguments: Any, **attributes: Any) -> Op:
    """An op whose errors say where it comes from."""
    try:
        op: Op = kind(*arguments, **attributes)
        op.check()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return op


def _each_slot_once(x: Value, layer: Layer) -> tuple[Value, Layer]:
    """A linear map of scattered or repeated features as one of whole stretches of slots."""
    x = Builder.concat(x)
    names = [span.slot for span in x.spans]
    if len(set(names)) == len(names):
        return x, layer
    slots, places = x.places()
    spans, columns, start = [], np.empty(x.size, np.int64), 0
    for name in dict.fromkeys(names):
        here = slots == name
        first, last = int(places[here].min()), int(places[here].max()) + 1
        columns[here] = places[here] - first + start
        spans.append(Span(name, first, last))
        start += last - first
    weight, kept = np.zeros((layer.shape[0], start)), np.zeros((layer.shape[0], start), np.bool_)
    given = layer.weight
    marks = given if isinstance(given, CSR) else CSR.from_dense(given, np.ones(given.shape, bool))
    rows = marks.rows()
    np.add.at(weight, (rows, columns[marks.indices]), marks.values)
    kept[rows, columns[marks.indices]] = True
    moved = CSR.from_dense(weight.astype(np.float32), kept)
    return Value(tuple(spans)), replace(layer, weight=moved.to_dense() if kept.all() else moved)
