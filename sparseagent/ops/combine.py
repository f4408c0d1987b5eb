"""combine: two rows of equal size, feature by feature: residual streams, gates, interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparseagent import fields
from sparseagent.csr import Float32, Float64, finite_array
from sparseagent.program import Attributes, Op, Span, Tensors

RULES = ("add", "multiply", "lerp")


@dataclass(frozen=True, eq=False)
class Combine(Op):
    """`x + y`, `x * y`, or `x + weight (y - x)` as one fused multiply-add behind a difference.

    Attributes:
        rule: one of `RULES`.
        weight: of `"lerp"`: float32 `[n]`, finite; None for the others.
    """

    kind: ClassVar[str] = "combine"

    rule: str
    weight: Float32 | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {self.rule!r}")
        if (self.weight is not None) != (self.rule == "lerp"):
            raise ValueError("weight: expected one for lerp, and none for the others")
        if self.weight is not None:
            object.__setattr__(self, "weight", finite_array("weight", self.weight))

    def check(self) -> None:
        if len(self.reads) != 2 or len(self.writes) != 1:
            raise ValueError("expected to read two spans and to write one")
        sizes = [self.reads[0].size, self.reads[1].size, self.out_size]
        if self.weight is not None:
            sizes.append(self.weight.size)
        if len(set(sizes)) != 1:
            raise ValueError(f"expected spans and weights of one size, got {sizes}")

    def attributes(self) -> Attributes:
        return {"rule": self.rule}

    def tensors(self) -> Tensors:
        return {} if self.weight is None else {"weight": self.weight}

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Combine:
        return cls(reads, writes, fields.text(attributes, "rule"), tensors.get("weight"))

    def float64(self, *x: Float64) -> Float64:
        first, second = x
        if self.rule == "add":
            return first + second
        if self.rule == "multiply":
            return first * second
        return first + np.asarray(self.weight, np.float64) * (second - first)

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        (first, second), (off, other) = x, error
        unit, value = 2.0**-24, self.float64(*x)
        if self.rule == "add":
            carried = off + other
        elif self.rule == "multiply":
            carried = np.abs(first) * other + np.abs(second) * off + off * other
        else:
            weight = np.abs(np.asarray(self.weight, np.float64))
            difference = off + other
            difference = difference + unit * (np.abs(second - first) + difference)
            carried = off + weight * difference
        return carried + unit * (np.abs(value) + carried) + 2.0**-149
