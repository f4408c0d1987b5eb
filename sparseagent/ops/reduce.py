"""reduce: groups of features to one number each, or to a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparseagent import fields
from sparseagent.csr import Float32, Float64, finite_array
from sparseagent.program import Attributes, Op, Span, Tensors

RULES = ("mean", "softmax", "weighted_sum")


@dataclass(frozen=True, eq=False)
class Reduce(Op):
    """Features as a matrix `[groups, size]`, or `[size, groups]` if they are strided.

    - `"mean"`: a sum in ascending order, times the float32 nearest to 1/size: `[groups]`;
    - `"softmax"`: `exp(x - max) / sum`, the exponent at least -87, the sum in ascending order:
      as many numbers as before, in their places;
    - `"weighted_sum"`: one chain of fused multiply-adds from 0 in ascending order: `[groups]`.

    Attributes:
        rule: one of `RULES`.
        groups: how many there are, at least 1.
        strided: whether neighbours belong to different groups (QR-DQN's quantiles) or to the same
            one (C51's atoms).
        weight: of `"weighted_sum"`: float32 `[size]`, the same for all groups, finite; else None.
    """

    kind: ClassVar[str] = "reduce"

    rule: str
    groups: int = 1
    strided: bool = False
    weight: Float32 | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {self.rule!r}")
        if self.groups < 1:
            raise ValueError(f"groups: expected at least 1, got {self.groups}")
        if (self.weight is not None) != (self.rule == "weighted_sum"):
            raise ValueError("weight: expected one for weighted_sum, and none for the others")
        if self.weight is not None:
            object.__setattr__(self, "weight", finite_array("weight", self.weight))

    def check(self) -> None:
        if len(self.reads) != 1 or len(self.writes) != 1:
            raise ValueError("expected to read one span and to write one")
        size, rest = divmod(self.in_size, self.groups)
        outputs = self.in_size if self.rule == "softmax" else self.groups
        if rest or self.out_size != outputs:
            raise ValueError(
                f"expected {outputs} outputs of {self.groups} equal groups of inputs, got "
                f"{self.out_size} outputs and {self.in_size} inputs"
            )
        if self.weight is not None and self.weight.size != size:
            raise ValueError(f"weight: expected {size} numbers, got {self.weight.size}")

    def attributes(self) -> Attributes:
        return {"rule": self.rule, "groups": self.groups, "strided": self.strided}

    def tensors(self) -> Tensors:
        return {} if self.weight is None else {"weight": self.weight}

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Reduce:
        return cls(
            reads,
            writes,
            fields.text(attributes, "rule"),
            fields.whole(attributes, "groups"),
            fields.truth(attributes, "strided"),
            tensors.get("weight"),
        )

    def float64(self, *x: Float64) -> Float64:
        grouped = self._grouped(x[0])
        if self.rule == "mean":
            return np.asarray(grouped.mean(axis=2))
        if self.rule == "weighted_sum":
            return grouped @ np.asarray(self.weight, np.float64)
        powers = np.exp(np.maximum(grouped - grouped.max(axis=2, keepdims=True), -87.0))
        return self._flat(powers / powers.sum(axis=2, keepdims=True))

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        grouped, off = self._grouped(x[0]), self._grouped(error[0])
        unit, n = 2.0**-24, grouped.shape[2]
        gamma = (n + 2) * unit / (1 - (n + 2) * unit)
        if self.rule == "mean":
            return np.asarray((off + gamma * (np.abs(grouped) + off)).mean(axis=2) + 2.0**-148)
        if self.rule == "weighted_sum":
            weight = np.abs(np.asarray(self.weight, np.float64))
            return np.asarray((off + gamma * (np.abs(grouped) + off)) @ weight + n * 2.0**-149)
        # The quotient of a power by the sum: each off by the exponent's error, relative, and the
        # exponent by its own and the maximum's.
        size = np.abs(grouped).max(axis=2, keepdims=True)
        exponent = 2 * off.max(axis=2, keepdims=True) + 2 * unit * size
        relative = np.expm1(2 * np.minimum(exponent, 300.0) + gamma + 16 * unit)
        value = self._grouped(self.float64(*x))
        return self._flat(np.minimum(value * relative, 1.0) + 2.0**-126)

    def _grouped(self, x: Float64) -> Float64:
        """`[B, n]` -> `[B, groups, size]`."""
        if self.strided:
            return np.swapaxes(x.reshape(len(x), -1, self.groups), 1, 2)
        return x.reshape(len(x), self.groups, -1)

    def _flat(self, grouped: Float64) -> Float64:
        return (np.swapaxes(grouped, 1, 2) if self.strided else grouped).reshape(len(grouped), -1)
