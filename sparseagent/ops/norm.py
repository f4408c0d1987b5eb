"""norm: features over their own mean and spread: layer norm, RMS norm, L2 norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparseagent import fields
from sparseagent.csr import Float64, nearest_float32
from sparseagent.program import Attributes, Op, Span, Tensors

RULES = ("layer", "rms", "l2")


@dataclass(frozen=True, eq=False)
class Norm(Op):
    """A row of n features, normalised by itself; gains and biases are a `Map` behind it.

    With S the sum and Q the sum of squares, both of 16 partial sums (feature f in partial f mod
    16) that a fixed tree joins:

    - `"layer"`: `(x - S/n) / sqrt(Q/n + eps)`, Q of the differences, two passes (Ba et al. 2016);
    - `"rms"`: `x / sqrt(Q/n + eps)` (Zhang & Sennrich 2019);
    - `"l2"`: `x / max(sqrt(Q), eps)`, as in SimbaV2 (Lee et al. 2025).

    Attributes:
        rule: one of `RULES`.
        eps: positive, finite, held as float32. Libraries differ: torch 1e-5, flax 1e-6.
    """

    kind: ClassVar[str] = "norm"

    rule: str
    eps: float

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {self.rule!r}")
        object.__setattr__(self, "eps", nearest_float32(self.eps))
        if not (np.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"eps: expected a positive number, got {self.eps}")

    def check(self) -> None:
        if len(self.reads) != 1 or len(self.writes) != 1 or self.in_size != self.out_size:
            raise ValueError(
                f"expected to read one span and to write one of the same size, got {self.in_size} "
                f"and {self.out_size} features in {len(self.reads)} and {len(self.writes)} spans"
            )

    def attributes(self) -> Attributes:
        return {"rule": self.rule, "eps": self.eps}

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Norm:
        return cls(reads, writes, fields.text(attributes, "rule"), fields.number(attributes, "eps"))

    def float64(self, *x: Float64) -> Float64:
        given = x[0]
        if self.rule == "layer":
            given = given - given.mean(axis=1, keepdims=True)
        return given / self._spread(given)

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        """First order in the errors, doubled: the mean, each difference, the spread, the quotient.

        A difference d is off by its own error and the mean's; the spread r, an average of squares,
        by the greatest of these (a norm is 1-Lipschitz) and its rounding; the quotient by both.
        """
        unit, n = 2.0**-24, x[0].shape[1]
        given, off = x[0], error[0]
        terms = n / 16 + 6
        if self.rule == "layer":
            mean = given.mean(axis=1, keepdims=True)
            size = np.abs(given).mean(axis=1, keepdims=True)
            off_mean = off.mean(axis=1, keepdims=True) + terms * unit * size
            off = off + off_mean + unit * (np.abs(given - mean) + off)
            given = given - mean
        spread = self._spread(given)
        joint = np.sqrt((off**2).sum(axis=1, keepdims=True))
        if self.rule != "l2":
            joint = joint / np.sqrt(n)
        off_spread = joint + (terms + 4) * unit * spread
        quotient = np.abs(given / spread)
        return np.asarray(
            2 * (off / spread + quotient * off_spread / spread + 4 * unit * quotient) + 2.0**-148
        )

    def _spread(self, given: Float64) -> Float64:
        squares = given**2
        if self.rule == "l2":
            return np.asarray(np.maximum(np.sqrt(squares.sum(axis=1, keepdims=True)), self.eps))
        return np.asarray(np.sqrt(squares.mean(axis=1, keepdims=True) + self.eps))
