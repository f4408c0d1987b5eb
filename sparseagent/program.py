"""Program: what a policy computes, as data. Slots hold values, ops fill them in order, once each.

A *slot* is a named row of features. An *op* reads spans of slots and writes spans of slots; every
feature is written once, before it is read. So concatenation, slices, shared trunks and several
outputs are nothing but spans: two ops that write the halves of one slot have concatenated, and two
that read one slot share it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sparseagent import _core
from sparseagent.csr import MAX_WIDTH, Float64, ReadOnly

#: Names of tensors and attributes of one op, as the policy file holds them.
Tensors = dict[str, NDArray[Any]]
Attributes = dict[str, Any]

MAX_OPS: int = _core.MAX_OPS
MAX_SLOTS: int = _core.MAX_SLOTS
#: Of all slots together: what one observation may take, beside its weights.
MAX_FEATURES: int = _core.MAX_FEATURES
#: Features that all ops together read: the work of one observation, beside its weights.
MAX_READS: int = _core.MAX_READS
#: What the windows of all ops do for one observation: multiply, or compare.
MAX_WORK: int = _core.MAX_WORK


@dataclass(frozen=True)
class Span:
    """Features `[start, stop)` of a slot.

    Raises:
        ValueError: expected 0 <= start < stop.
    """

    slot: str
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(
                f"{self.slot}: expected 0 <= start < stop, got {self.start} and {self.stop}"
            )

    @property
    def size(self) -> int:
        """Number of features."""
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.slot}[{self.start}:{self.stop}]"


@dataclass(frozen=True, eq=False)
class Op(ReadOnly, abc.ABC):
    """One step of a program; every kind is a subclass in `sparseagent.ops`.

    Attributes:
        kind: what the policy file calls it.
        reads: the spans whose features it takes, one behind the other.
        writes: the spans that it fills.
    """

    kind: ClassVar[str]

    reads: tuple[Span, ...]
    writes: tuple[Span, ...]

    @property
    def since(self) -> int:
        """The first version of the file format that holds it."""
        return 2

    @property
    def in_size(self) -> int:
        """Features it takes."""
        return sum(span.size for span in self.reads)

    @property
    def out_size(self) -> int:
        """Features it gives."""
        return sum(span.size for span in self.writes)

    @property
    def work(self) -> int:
        """How often it multiplies or compares for one observation, of an op that slides."""
        return 0

    @abc.abstractmethod
    def check(self) -> None:
        """Raise ValueError unless the spans have the sizes that the op needs."""

    @abc.abstractmethod
    def attributes(self) -> Attributes:
        """What JSON holds of it besides kind and spans."""

    def tensors(self) -> Tensors:
        """Its arrays by name, as the file holds them."""
        return {}

    @classmethod
    @abc.abstractmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Op:
        """The op that `attributes()` and `tensors()` describe."""

    @abc.abstractmethod
    def float64(self, *x: Float64) -> Float64:
        """The op in float64: one array `[B, size]` for each read -> `[B, out_size]`."""

    @abc.abstractmethod
    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        """A bound on |compiled - exact| of what it writes, `[B, out_size]`.

        Args:
            x: what it reads in float64, one array `[B, size]` for each span.
            error: bounds on the errors of these, same shapes.
        """


@dataclass(frozen=True, eq=False)
class Program:
    """Slots, ops in the order in which they run, and named outputs. Data and checks only.

    Attributes:
        slots: the number of features of every slot, by name.
        ops: what is computed; each reads what ops before it have written.
        outputs: spans by name. The first is what `act(observations)` gives.

    Raises:
        ValueError: a span leaves its slot, a feature is written twice or read before it is
            written, or an op does not fit its spans; the message names the op.
    """

    slots: Mapping[str, int]
    ops: tuple[Op, ...]
    outputs: Mapping[str, Span]

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", dict(self.slots))
        object.__setattr__(self, "ops", tuple(self.ops))
        object.__setattr__(self, "outputs", dict(self.outputs))
        self._check_sizes()
        written = {name: np.zeros(size, np.bool_) for name, size in self.slots.items()}
        for number, op in enumerate(self.ops):
            where = f"ops[{number}] ({op.kind})"
            for span in op.reads:
                if not self._mark(where, span, written).all():
                    raise ValueError(f"{where}: expected {span} to be written before it is read")
            for span in op.writes:
                mark = self._mark(where, span, written)
                if mark.any():
                    raise ValueError(f"{where}: expected to be the only one that writes {span}")
                mark[:] = True
            try:
                op.check()
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        if self.work > MAX_WORK:
            raise ValueError(f"ops: expected at most {MAX_WORK} steps of windows, got {self.work}")
        for name, span in self.outputs.items():
            if not self._mark(f"outputs: {name}", span, written).all():
                raise ValueError(f"outputs: {name}: expected {span} to be written")
        self._check_names()

    @property
    def work(self) -> int:
        """How often windows multiply or compare for one observation."""
        return sum(op.work for op in self.ops)

    @property
    def since(self) -> int:
        """The first version of the file format that holds all of it."""
        return max(op.since for op in self.ops) if self.is_chain() else 2

    def is_chain(self) -> bool:
        """Whether every op takes the whole of what the one before gives, and the last one is it."""
        if list(self.outputs) != ["action"] or len(self.slots) != len(self.ops):
            return False
        spans = [op.writes for op in self.ops]
        reads = [op.reads for op in self.ops]
        whole = all(
            len(wrote) == 1 and wrote[0] == Span(wrote[0].slot, 0, self.slots[wrote[0].slot])
            for wrote in spans
        )
        follows = not reads[0] and all(a == b for a, b in zip(spans, reads[1:], strict=False))
        return whole and follows and next(iter(self.outputs.values())) == spans[-1][0]

    def writer(self, span: Span) -> int | None:
        """The number of the op that writes exactly `span`, or None."""
        return next((n for n, op in enumerate(self.ops) if op.writes == (span,)), None)

    def readers(self, slot: str) -> Iterator[int]:
        """The numbers of the ops that read features of `slot`."""
        return (n for n, op in enumerate(self.ops) if any(s.slot == slot for s in op.reads))

    def with_ops(self, ops: Sequence[Op]) -> Program:
        """The program with other ops that read and write the same spans; they are not checked."""
        program = object.__new__(Program)
        for name, part in (*vars(self).items(), ("ops", tuple(ops))):
            object.__setattr__(program, name, part)
        return program

    def _check_sizes(self) -> None:
        if not 1 <= len(self.ops) <= MAX_OPS:
            raise ValueError(f"ops: expected 1 to {MAX_OPS}, got {len(self.ops)}")
        if not 1 <= len(self.outputs) <= _core.MAX_OUTPUTS:
            raise ValueError(f"outputs: expected 1 to {_core.MAX_OUTPUTS}, got {len(self.outputs)}")
        for name, size in self.slots.items():
            if not 1 <= size <= MAX_WIDTH:
                raise ValueError(f"slots: {name}: expected 1 to {MAX_WIDTH} features, got {size}")
        if len(self.slots) > MAX_SLOTS or sum(self.slots.values()) > MAX_FEATURES:
            raise ValueError(
                f"slots: expected at most {MAX_SLOTS} of {MAX_FEATURES} features in all"
            )
        if sum(op.in_size for op in self.ops) > MAX_READS:
            raise ValueError(f"ops: expected them to read at most {MAX_READS} features in all")

    def _check_names(self) -> None:
        """Inputs have a name each, and every name is one that a file can hold."""
        inputs = [op.input for op in self.ops if hasattr(op, "input")]
        if not 1 <= len(inputs) <= _core.MAX_INPUTS:
            raise ValueError(f"inputs: expected 1 to {_core.MAX_INPUTS}, got {len(inputs)}")
        if len(set(inputs)) != len(inputs):
            raise ValueError(f"inputs: expected each to be observed once, got {inputs!s:.200}")
        for name in (*self.slots, *inputs, *self.outputs):
            name.encode()  # refuses half a character, which no other reader takes

    def _mark(
        self, where: str, span: Span, written: Mapping[str, NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        if span.slot not in self.slots:
            raise ValueError(f"{where}: expected a slot of {', '.join(self.slots)}, got {span}")
        if span.stop > self.slots[span.slot]:
            raise ValueError(
                f"{where}: expected a span of the {self.slots[span.slot]} features of "
                f"{span.slot}, got {span}"
            )
        return written[span.slot][span.start : span.stop]
