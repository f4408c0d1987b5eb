"""Joins ops with their neighbours: affine maps, group means and sums go into Linear layers.

Every rule takes kept weights only: what was absent stays absent, an absent weight passes on no
shift. Where rows of a matrix are added up (mean over quantiles, dueling) the sum keeps a weight
that any of them kept. Sums are in float64 and rounded once a fold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.fold_images import into_conv_before, into_convs_behind
from sparseagent.csr import CSR, Float32, Float64
from sparseagent.ops import Layer, Linear, Observation, Observe
from sparseagent.ops.combine import Combine
from sparseagent.ops.map import Map
from sparseagent.ops.reduce import Reduce
from sparseagent.program import Op, Program, Span

_MOST_PASSES = 32
#: Entries of a matrix that a fold may write out; larger ones stay as they are.
_MOST_ENTRIES = 1 << 25


class Mix(Linear):
    """A matrix that the graph has made, not the training: a broadcast, a permutation."""


def fold(program: Program) -> Program:
    """The same function in fewer ops, without those that no output needs.

    - an activation or affine map behind a Linear goes into it, as batch norm does and SimbaV2's
      scalers (Lee et al. 2025);
    - an affine map before Linears goes into them: LayerNorm's gain and bias, CrossQ's batch renorm
      (Bhatt et al. 2024);
    - subtraction, division and bounds of an observation go into its step, in float32;
    - mean and weighted sum over groups go into the Linear before them: QR-DQN's quantiles (Dabney
      et al. 2018);
    - an activation or affine map behind a convolution goes into it, and a factor before it, such as
      the 255 of frames;
    - the sum of two Linears is one: dueling, `v + a - mean(a)` (Wang et al. 2016).

    What somebody else reads as well, or is an output, stays.
    """
    graph = _Graph(program)
    for _ in range(_MOST_PASSES):
        graph.drop_unread()
        changed = False
        for number in range(len(graph.ops)):
            changed |= any(rule(graph, number) for rule in _RULES)
        if not changed:
            break
    graph.drop_unread()
    return graph.program()


class _Graph:
    """A program whose ops come and go; every slot keeps its one writer for a span."""

    def __init__(self, program: Program) -> None:
        self.slots = dict(program.slots)
        self.ops: list[Op | None] = list(program.ops)
        self.outputs = program.outputs
        self._shown = {span.slot for span in program.outputs.values()}
        self._readers: dict[str, set[int]] = {}
        self._writers: dict[str, dict[int, int]] = {}  # slot -> first feature -> op
        for number, op in enumerate(program.ops):
            self._enter(number, op)

    def program(self) -> Program:
        """What is left, slots named in the order in which they are written."""
        ops = [op for op in self.ops if op is not None]
        names: dict[str, str] = {}
        for op in ops:
            for span in op.writes:
                names.setdefault(span.slot, f"x{len(names)}")

        def renamed(spans: tuple[Span, ...]) -> tuple[Span, ...]:
            return tuple(Span(names[s.slot], s.start, s.stop) for s in spans)

        final = [
            Linear(renamed(op.reads), renamed(op.writes), op.layer)
            if isinstance(op, Linear)
            else replace(op, reads=renamed(op.reads), writes=renamed(op.writes))
            for op in ops
        ]
        slots = {new: self.slots[old] for old, new in names.items()}
        outputs = {name: renamed((span,))[0] for name, span in self.outputs.items()}
        return Program(slots, tuple(final), outputs)

    def put(self, number: int, op: Op | None) -> None:
        """Replace op `number`, or take it away."""
        old = self.ops[number]
        assert old is not None
        for span in old.reads:
            self._readers[span.slot].discard(number)
        for span in old.writes:
            self._writers[span.slot].pop(span.start, None)
        self.ops[number] = op
        if op is not None:
            self._enter(number, op)

    def move(self, source: int, target: int, op: Op) -> None:
        """`op` takes the place of `target`, and writes what `source` wrote, which goes."""
        self.put(source, None)
        self.put(target, op)

    def writer(self, span: Span) -> int | None:
        """The op that writes exactly `span`."""
        number = self._writers.get(span.slot, {}).get(span.start)
        op = None if number is None else self.ops[number]
        return number if op is not None and op.writes == (span,) else None

    def readers(self, slot: str) -> list[int]:
        """The ops that read features of `slot`, in order."""
        return sorted(self._readers.get(slot, ()))

    def is_private(self, span: Span, reader: int) -> bool:
        """Whether nobody but `reader` sees the slot of `span`."""
        return span.slot not in self._shown and self.readers(span.slot) == [reader]

    def is_output(self, span: Span) -> bool:
        """Whether an output shows features of its slot."""
        return span.slot in self._shown

    def linear_behind(self, span: Span) -> tuple[int, Linear] | None:
        """The Linear without an activation that writes exactly `span`."""
        number = self.writer(span)
        op = None if number is None else self.ops[number]
        plain = isinstance(op, Linear) and op.layer.activation == "identity"
        return (number, op) if plain and number is not None and isinstance(op, Linear) else None

    def drop_unread(self) -> None:
        """Take away ops whose results nobody reads; inputs stay."""
        for number in reversed(range(len(self.ops))):
            op = self.ops[number]
            if op is None or isinstance(op, Observe):
                continue
            if not any(s.slot in self._shown or self._readers.get(s.slot) for s in op.writes):
                self.put(number, None)

    def _enter(self, number: int, op: Op) -> None:
        for span in op.reads:
            self._readers.setdefault(span.slot, set()).add(number)
        for span in op.writes:
            self._writers.setdefault(span.slot, {})[span.start] = number


def _into_linear_before(graph: _Graph, number: int) -> bool:
    """Linear -> Map: the affine part and the activation become the Linear's; bounds stay."""
    op = graph.ops[number]
    if not isinstance(op, Map) or (op.scale is None and op.activation == "identity"):
        return False
    found = graph.linear_behind(op.reads[0])
    if found is None or not graph.is_private(op.reads[0], number):
        return False
    at, linear = found
    matrix = _Matrix.of(linear)
    if matrix is None:
        return False
    if op.scale is not None and op.shift is not None:
        scale = op.scale.astype(np.float64)
        matrix = _Matrix(
            matrix.weight * scale[:, None], matrix.kept, matrix.bias * scale + op.shift
        )
        layer = matrix.layer()
        if layer is None:
            return False
    else:
        layer = linear.layer
    layer = replace(layer, activation=op.activation, alpha=op.alpha)
    if op.low is None and op.high is None:
        graph.move(number, at, replace(linear, writes=op.writes, layer=layer))
    else:
        graph.put(at, replace(linear, layer=layer))
        graph.put(number, Map(op.reads, op.writes, low=op.low, high=op.high))
    return True


def _into_linears_behind(graph: _Graph, number: int) -> bool:
    """Affine Map -> Linears: columns are scaled, shifts go through kept weights to the bias."""
    op = graph.ops[number]
    if not _is_affine(op):
        return False
    assert isinstance(op, Map)
    written = op.writes[0]
    readers = graph.readers(written.slot)
    if graph.is_output(written) or not readers:
        return False
    behind: list[tuple[int, Linear]] = []
    for reader in readers:
        linear = graph.ops[reader]
        fits = isinstance(linear, Linear) and all(
            written.start <= span.start and span.stop <= written.stop
            for span in linear.reads
            if span.slot == written.slot
        )
        if not fits or not isinstance(linear, Linear):
            return False
        behind.append((reader, linear))
    folded = [_behind(op, linear) for _, linear in behind]
    if any(linear is None for linear in folded):
        return False
    for (reader, _), linear in zip(behind, folded, strict=True):
        graph.put(reader, linear)
    graph.put(number, None)
    return True


def _behind(op: Map, linear: Linear) -> Linear | None:
    """The Linear that reads what `op` reads instead of what it writes."""
    matrix = _Matrix.of(linear)
    if matrix is None or op.scale is None or op.shift is None:
        return None
    written, start, reads = op.writes[0], 0, []
    scale, shift = np.ones(linear.in_size), np.zeros(linear.in_size)
    for span in linear.reads:
        if span.slot == written.slot:
            first, last = span.start - written.start, span.stop - written.start
            scale[start : start + span.size] = op.scale[first:last]
            shift[start : start + span.size] = op.shift[first:last]
            base = op.reads[0].start
            reads.append(Span(op.reads[0].slot, base + first, base + last))
        else:
            reads.append(span)
        start += span.size
    bias = matrix.bias + matrix.weight @ shift  # absent weights are zeros
    layer = _Matrix(matrix.weight * scale, matrix.kept, bias).layer(linear.layer)
    return None if layer is None else replace(linear, reads=tuple(reads), layer=layer)


def _into_observation(graph: _Graph, number: int) -> bool:
    """Observe -> Map: a shift, a scale and bounds, in this order, become the step's."""
    op = graph.ops[number]
    if not isinstance(op, Map) or op.activation != "identity":
        return False
    at = graph.writer(op.reads[0])
    observe = None if at is None else graph.ops[at]
    if at is None or not isinstance(observe, Observe) or not graph.is_private(op.reads[0], number):
        return False
    step = _with_map(observe.step, op)
    if step is None:
        return False
    graph.move(number, at, replace(observe, writes=op.writes, step=step))
    return True


def _with_map(step: Observation, op: Map) -> Observation | None:
    """The step followed by the map, or None where it cannot hold both."""
    bounded = not (math.isinf(step.low) and math.isinf(step.high))
    if step.categories or bounded or not (step.is_identity or step.precision == "float32"):
        return None
    parts: dict[str, Any] = {
        "low": -math.inf if op.low is None else op.low,
        "high": math.inf if op.high is None else op.high,
        "precision": "float32",
    }
    if op.scale is not None and op.shift is not None:
        only_shift, only_scale = bool((op.scale == 1).all()), not op.shift.any()
        if only_shift and step.shift is None and step.scale is None:
            parts["shift"] = -op.shift.astype(np.float64)
        elif only_scale and step.scale is None and (op.scale > 0).all():
            parts["scale"] = 1.0 / op.scale.astype(np.float64)
        else:
            return None
    try:
        return replace(step, **parts)
    except ValueError:  # bounds that meet, a scale beyond float32
        return None


def _join_maps(graph: _Graph, number: int) -> bool:
    """Map -> Map: an affine one before anything, bounds behind anything without bounds."""
    op = graph.ops[number]
    if not isinstance(op, Map):
        return False
    at = graph.writer(op.reads[0])
    first = None if at is None else graph.ops[at]
    if at is None or not isinstance(first, Map) or not graph.is_private(op.reads[0], number):
        return False
    only_bounds = op.scale is None and op.activation == "identity"
    if only_bounds and first.low is None and first.high is None:
        joined = replace(first, writes=op.writes, low=op.low, high=op.high)
    elif _is_affine(first) and op.scale is None:
        joined = replace(op, reads=first.reads, scale=first.scale, shift=first.shift)
    elif _is_affine(first) and op.scale is not None and op.shift is not None:
        assert first.scale is not None
        assert first.shift is not None
        scale = op.scale.astype(np.float64) * first.scale
        shift = op.scale.astype(np.float64) * first.shift + op.shift
        rounded = [_float32(part) for part in (scale, shift)]
        if rounded[0] is None or rounded[1] is None:
            return False
        joined = replace(op, reads=first.reads, scale=rounded[0], shift=rounded[1])
    else:
        return False
    graph.move(number, at, joined)
    return True


def _groups_into_linear(graph: _Graph, number: int) -> bool:
    """Linear -> mean or weighted sum over groups: rows of the matrix are added up."""
    op = graph.ops[number]
    if not isinstance(op, Reduce) or op.rule not in ("mean", "weighted_sum"):
        return False
    found = graph.linear_behind(op.reads[0])
    if found is None:
        return False
    linear = found[1]
    matrix = _Matrix.of(linear)
    if matrix is None:
        return False
    size = op.in_size // op.groups
    weight = np.full(size, 1.0 / size) if op.weight is None else op.weight.astype(np.float64)
    places = np.arange(op.in_size)
    rows = np.zeros((op.groups, op.in_size))
    if op.strided:
        rows[places % op.groups, places] = weight[places // op.groups]
    else:
        rows[places // size, places] = weight[places % size]
    layer = matrix.mixed(rows, np.zeros(op.groups)).layer()
    if layer is None:
        return False
    graph.put(number, Linear(linear.reads, op.writes, layer))
    return True


def _sum_of_linears(graph: _Graph, number: int) -> bool:
    """Linear + Linear, either perhaps broadcast: one Linear of what both read."""
    op = graph.ops[number]
    if not isinstance(op, Combine) or op.rule != "add" or op.reads[0] == op.reads[1]:
        return False
    for through in (True, False):  # what a broadcast repeats may overlap what the other reads
        terms = [_term(graph, span, number, through=through) for span in op.reads]
        if terms[0] is None or terms[1] is None:
            return False
        reads = list(dict.fromkeys(span for linear, _ in terms for span in linear.reads))  # type: ignore[misc]
        if len({span.slot for span in reads}) == len(reads):
            break
    else:
        return False
    width = sum(span.size for span in reads)
    if op.out_size * width > _MOST_ENTRIES:
        return False
    weight, kept = np.zeros((op.out_size, width)), np.zeros((op.out_size, width), np.bool_)
    bias = np.zeros(op.out_size)
    starts = dict(zip(reads, np.cumsum([0, *(s.size for s in reads)]).tolist(), strict=False))
    for term in terms:
        assert term is not None
        linear, matrix = term
        before = 0
        for span in linear.reads:
            here = slice(starts[span], starts[span] + span.size)
            weight[:, here] += matrix.weight[:, before : before + span.size]
            kept[:, here] |= matrix.kept[:, before : before + span.size]
            before += span.size
        bias += matrix.bias
    layer = _Matrix(weight, kept, bias).layer()
    if layer is None:
        return False
    graph.put(number, Linear(tuple(reads), op.writes, layer))
    return True


def _term(
    graph: _Graph, span: Span, reader: int, *, through: bool
) -> tuple[Linear, _Matrix] | None:
    """A summand as rows of a Linear that nobody else needs, or `through` a broadcast of one."""
    found = graph.linear_behind(span)
    if found is None or not graph.is_private(span, reader):
        return None
    at, linear = found
    matrix = _Matrix.of(linear)
    if not (through and isinstance(linear, Mix)) or matrix is None:
        return None if matrix is None else (linear, matrix)
    if len(linear.reads) != 1 or not graph.is_private(linear.reads[0], at):
        return linear, matrix
    source = graph.linear_behind(linear.reads[0])
    inner = None if source is None else _Matrix.of(source[1])
    if source is None or inner is None:
        return linear, matrix
    return source[1], inner.mixed(matrix.weight, matrix.bias)


@dataclass(frozen=True, eq=False)
class _Matrix:
    """A layer's numbers in float64, absent weights 0, and which ones are kept."""

    weight: Float64
    kept: NDArray[np.bool_]
    bias: Float64

    @classmethod
    def of(cls, linear: Linear) -> _Matrix | None:
        """The numbers of a Linear; None for one too large to write out."""
        layer = linear.layer
        if layer.shape[0] * layer.shape[1] > _MOST_ENTRIES:
            return None
        kept = np.ones(layer.shape, np.bool_)
        if isinstance(layer.weight, CSR):
            kept[:] = False
            kept[layer.weight.rows(), layer.weight.indices] = True
        return cls(layer.dense_weight().astype(np.float64), kept, layer.bias.astype(np.float64))

    def mixed(self, rows: Float64, bias: Float64) -> _Matrix:
        """`rows @ self + bias`; a weight is kept where a row with a share in it kept one."""
        shares = (rows != 0).astype(np.float32) @ self.kept.astype(np.float32)
        return _Matrix(rows @ self.weight, shares > 0, rows @ self.bias + bias)

    def layer(self, like: Layer | None = None) -> Layer | None:
        """As a layer with the activation of `like`; None where float32 cannot hold it."""
        weight, bias = _float32(self.weight), _float32(self.bias)
        if weight is None or bias is None:
            return None
        held = weight if self.kept.all() else CSR.from_dense(weight, self.kept)
        return Layer(held, bias) if like is None else replace(like, weight=held, bias=bias)


def _is_affine(op: Op | None) -> bool:
    return (
        isinstance(op, Map)
        and op.activation == "identity"
        and op.scale is not None
        and op.low is None
        and op.high is None
    )


def _float32(array: Float64) -> Float32 | None:
    """Rounded; None where a number is beyond float32."""
    with np.errstate(over="ignore"):
        rounded: Float32 = array.astype(np.float32)
    return rounded if np.isfinite(rounded).all() else None


_RULES: tuple[Callable[[_Graph, int], bool], ...] = (
    into_convs_behind,
    _into_observation,
    _groups_into_linear,
    into_conv_before,
    _into_linear_before,
    _into_linears_behind,
    _join_maps,
    _sum_of_linears,
)
