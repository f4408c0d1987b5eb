"""map: one function of every feature by itself: an activation, `a x + b`, or bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparseagent import fields
from sparseagent.csr import Float32, Float64, finite_array, nearest_float32
from sparseagent.ops.activation import activate, activation_bound, check_activation
from sparseagent.program import Attributes, Op, Span, Tensors


@dataclass(frozen=True, eq=False)
class Map(Op):
    """`y = f(a x + b)`, bounded: every part is optional, and they act in this order.

    `a x + b` is one fused multiply-add. The bounds are two comparisons, and NaN passes them.

    Attributes:
        activation: `f`, one of `ACTIVATIONS`.
        alpha: its parameter, see `Layer`.
        scale: `a`, float32 `[n]`, finite, or None for 1; given together with `shift`.
        shift: `b`, float32 `[n]`, finite, or None for 0.
        low: lower bound as float32, or None.
        high: upper bound as float32, or None.
    """

    kind: ClassVar[str] = "map"

    activation: str = "identity"
    alpha: float = 0.0
    scale: Float32 | None = None
    shift: Float32 | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation, float(self.alpha))
        if (self.scale is None) != (self.shift is None):
            raise ValueError("scale, shift: expected both or none")
        for name in ("scale", "shift"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, finite_array(name, given))
        for name in ("low", "high"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, nearest_float32(given))
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"low, high: expected low <= high, got {self.low} and {self.high}")
        if any(bound is not None and not np.isfinite(bound) for bound in (self.low, self.high)):
            raise ValueError(f"low, high: expected finite bounds, got {self.low} and {self.high}")

    def check(self) -> None:
        size = self.in_size if self.scale is None else self.scale.size
        if len(self.reads) != 1 or len(self.writes) != 1:
            raise ValueError("expected to read one span and to write one")
        if not self.in_size == self.out_size == size or (
            self.shift is not None and self.shift.size != size
        ):
            raise ValueError(
                f"expected as many outputs, scales and shifts as inputs, got {self.out_size} "
                f"outputs and {size} scales for {self.in_size} inputs"
            )

    def attributes(self) -> Attributes:
        return {
            "activation": self.activation,
            "alpha": float(self.alpha),
            "low": self.low,
            "high": self.high,
        }

    def tensors(self) -> Tensors:
        arrays = {"scale": self.scale, "shift": self.shift}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Map:
        return cls(
            reads,
            writes,
            fields.text(attributes, "activation"),
            fields.number(attributes, "alpha"),
            tensors.get("scale"),
            tensors.get("shift"),
            fields.bound(attributes, "low"),
            fields.bound(attributes, "high"),
        )

    def float64(self, *x: Float64) -> Float64:
        y = activate(self.activation, self.alpha, self._affine(x[0]))
        low = -np.inf if self.low is None else self.low
        return np.clip(y, low, np.inf if self.high is None else self.high)

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        total, carried = self._affine(x[0]), error[0]
        if self.scale is not None:
            carried = np.abs(self.scale) * carried
            carried = carried + 2.0**-24 * (np.abs(total) + carried) + 2.0**-149
        return activation_bound(self.activation, self.alpha, total, carried)

    def _affine(self, x: Float64) -> Float64:
        if self.scale is None or self.shift is None:
            return x
        return x * self.scale.astype(np.float64) + self.shift
