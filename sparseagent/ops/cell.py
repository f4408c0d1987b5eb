"""cell: a recurrent cell, LSTM or GRU; its gates are one layer, which is pruned as any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sparseagent import fields
from sparseagent.csr import CSR, Float32, Float64
from sparseagent.ops.activation import activate, activation_bound
from sparseagent.ops.linear import Layer, LayerOp
from sparseagent.program import Attributes, Span, Tensors

RULES = ("lstm", "gru")
#: Of the state, in numbers of units: hidden and cell, or hidden alone.
PARTS = {"lstm": 2, "gru": 1}


@dataclass(frozen=True, eq=False)
class Cell(LayerOp):
    """One step of an LSTM (Hochreiter and Schmidhuber, 1997) or a GRU (Cho et al., 2014).

    The layer has four rows for each unit and reads the inputs and the hidden part of the state:

    - `"lstm"`: rows i, f, g, o; `c' = f c + i g`, `h' = o tanh(c')`; the state is `[h; c]`;
    - `"gru"`: rows r, z, n_x, n_h, as torch has them: n_x reads the inputs alone, n_h the state
      alone; `n = tanh(n_x + r n_h)`, `h' = n + z (h - n)`; the state is `h`.

    i, f, o, r and z are sigmoids, g is a tanh. It reads its inputs and, as the last span, the
    state; it writes the next state, of which the first part is what other ops read.

    Attributes:
        layer: matrix `[4 * units, inputs + units]`, bias; no activation.
        rule: one of `RULES`.
    """

    kind: ClassVar[str] = "cell"

    rule: str

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {self.rule!r}")

    @property
    def units(self) -> int:
        """Numbers that it gives."""
        return self.layer.shape[0] // 4

    def check(self) -> None:
        rows, columns = self.layer.shape
        state = PARTS[self.rule] * self.units
        if rows % 4 or self.layer.activation != "identity":
            raise ValueError("layer: expected four rows for each unit, and no activation")
        if len(self.reads) < 2 or self.reads[-1].size != state or len(self.writes) != 1:
            raise ValueError(f"expected to read inputs and a state of {state}, and to write one")
        if self.out_size != state or columns != self.in_size - state + self.units:
            raise ValueError(
                f"expected {columns - self.units} inputs and a state of {state}, got "
                f"{self.in_size - state} and {self.out_size}"
            )

    def attributes(self) -> Attributes:
        return {**super().attributes(), "rule": self.rule}

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Cell:
        return cls(
            reads, writes, cls.read_layer(attributes, tensors), fields.text(attributes, "rule")
        )

    def float64(self, *x: Float64) -> Float64:
        a, b, c, d = self._gates(x)
        sigmoid = _sigmoid
        if self.rule == "gru":
            n = np.tanh(c + sigmoid(a) * d)
            return n + sigmoid(b) * (x[-1] - n)
        cell = sigmoid(b) * x[-1][:, self.units :] + sigmoid(a) * np.tanh(c)
        return np.concatenate([sigmoid(d) * np.tanh(cell), cell], axis=1)

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        """The gates' bound through sigmoid, tanh, products and sums, each rounded once."""
        a, b, c, d = (_Off(v, e) for v, e in zip(self._gates(x), self._off(x, error), strict=True))
        if self.rule == "gru":
            h = _Off(x[-1], error[-1])
            n = (a.through("sigmoid") * d + c).through("tanh")
            return (b.through("sigmoid") * (h - n) + n).error
        cell = _Off(x[-1][:, self.units :], error[-1][:, self.units :])
        cell = b.through("sigmoid") * cell + a.through("sigmoid") * c.through("tanh")
        shown = d.through("sigmoid") * cell.through("tanh")
        return np.concatenate([shown.error, cell.error], axis=1)

    def _inputs(self, x: tuple[Float64, ...]) -> Float64:
        return np.concatenate([*x[:-1], x[-1][:, : self.units]], axis=1)

    def _gates(self, x: tuple[Float64, ...]) -> list[Float64]:
        total = self._inputs(x) @ self.layer.dense_weight().astype(np.float64).T + self.layer.bias
        return np.split(total, 4, axis=1)

    def _off(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> list[Float64]:
        weight = np.abs(self.layer.dense_weight().astype(np.float64)).T
        terms = np.count_nonzero(weight, axis=0) + 1
        gamma = terms * 2.0**-24 / (1 - terms * 2.0**-24)
        off = self._inputs(error) @ weight
        size = np.abs(self._inputs(x)) @ weight + off + np.abs(self.layer.bias)
        return np.split(off + gamma * size + terms * 2.0**-149, 4, axis=1)


@dataclass(frozen=True)
class _Off:
    """Numbers that are off by no more than `error`."""

    value: Float64
    error: Float64

    def through(self, activation: str) -> _Off:
        value = activate(activation, 0.0, self.value)
        return _Off(value, activation_bound(activation, 0.0, self.value, self.error))

    def __mul__(self, other: _Off) -> _Off:
        error = self.error * np.abs(other.value) + other.error * np.abs(self.value)
        return _rounded(self.value * other.value, error + self.error * other.error)

    def __add__(self, other: _Off) -> _Off:
        return _rounded(self.value + other.value, self.error + other.error)

    def __sub__(self, other: _Off) -> _Off:
        return _rounded(self.value - other.value, self.error + other.error)


def _rounded(value: Float64, error: Float64) -> _Off:
    return _Off(value, error + 2.0**-24 * (np.abs(value) + error) + 2.0**-149)


def _sigmoid(x: Float64) -> Float64:
    return activate("sigmoid", 0.0, x)


def cell_layer(
    rule: str,
    weight_ih: Float32,
    weight_hh: Float32,
    bias: Float32 | tuple[Float32, Float32],
    masks: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Layer:
    """The layer of a cell from torch's matrices.

    Args:
        rule: one of `RULES`.
        weight_ih: float32 `[gates * units, inputs]`, 4 gates of an LSTM, 3 of a GRU.
        weight_hh: float32 `[gates * units, units]`.
        bias: of the inputs and of the state, each float32 `[gates * units]`.
        masks: which weights are kept, shaped like the two matrices; None for all.

    An LSTM's biases are added up, in float32 as torch's own step does not: it adds both to the
    sum, so results agree to rounding.
    """
    units = weight_hh.shape[1]
    kept = masks or (np.ones(weight_ih.shape, np.bool_), np.ones(weight_hh.shape, np.bool_))
    ih, hh = (np.asarray(mask, np.bool_) for mask in kept)
    if rule == "lstm":
        whole = np.concatenate([weight_ih, weight_hh], axis=1)
        mask = np.concatenate([ih, hh], axis=1)
        total = (np.asarray(bias[0], np.float64) + bias[1]).astype(np.float32)
    else:
        from_x = _four(weight_ih, units, "x"), _four(ih, units, "x")
        from_h = _four(weight_hh, units, "h"), _four(hh, units, "h")
        whole = np.concatenate([from_x[0], from_h[0]], axis=1)
        mask = np.concatenate([from_x[1], from_h[1]], axis=1)
        both = _four(bias[0][:, None], units, "x") + _four(bias[1][:, None], units, "h")
        total = both[:, 0].astype(np.float32)
    return Layer(whole if mask.all() else CSR.from_dense(whole, mask), total)


def _four(three: NDArray[Any], units: int, part: str) -> NDArray[Any]:
    """Rows r, z, n of a GRU as r, z, n_x, n_h, of which n is one and the other is empty."""
    gates = np.zeros((4 * units, three.shape[1]), three.dtype)
    gates[: 2 * units] = three[: 2 * units]
    start = 2 * units if part == "x" else 3 * units
    gates[start : start + units] = three[2 * units :]
    return gates
