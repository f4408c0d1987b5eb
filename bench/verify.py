"""Verify, then time: a contender whose outputs are wrong gets no time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import Float64, Variant
from bench.nets import Case, Float32
from sparseagent.reference import forward_exact, forward_float64

#: Largest error allowed, relative to the largest output: max|y - y64| / max|y64|. Sums of 1,024
#: float32 products in any order stay near 1e-6; bfloat16 (1e-3) or a forgotten bias do not pass.
TOLERANCE = 1e-5

#: The exact reference is one scalar chain per row: check as many rows as this many products allow.
EXACT_PRODUCTS = 20_000_000


class WrongResultError(Exception):
    """The contender's outputs are not the policy's; the message stands in the row."""


class Expected:
    """What the outputs must be for the observations of one cell, computed once for everybody.

    Attributes:
        float64: the float64 forward of every observation array, float64 `[B, out]` each.
        exact_rows: which rows of the first array are compared bit for bit, first and last
            included.
    """

    def __init__(self, case: Case, arrays: Sequence[Float32]) -> None:
        self.float64: list[Float64] = [forward_float64(case.policy.program, x) for x in arrays]
        batch = len(arrays[0])
        count = max(2, min(batch, EXACT_PRODUCTS // case.policy.nnz))
        self.exact_rows = np.unique(np.linspace(0, batch - 1, count).astype(int))
        self._first = arrays[0]

    def exact(self, policy: sa.SparsePolicy) -> Float32:
        """The bits that a plan of `policy` must give for `exact_rows`: its order decides them."""
        return forward_exact(policy.program, self._first[self.exact_rows])


def verify(variant: Variant, wrapped: Sequence[Any], expected: Expected) -> float:
    """Run every observation array once.

    Returns:
        The largest error relative to the largest output.

    Raises:
        WrongResultError: what is wrong.
    """
    worst = 0.0
    for number, (x, truth) in enumerate(zip(wrapped, expected.float64, strict=True)):
        with variant.inside():
            variant.run(x)
            y = np.array(variant.read())
        if y.shape != truth.shape or y.dtype != np.float32:
            raise WrongResultError(
                f"{variant.name}: expected float32 {truth.shape}, got {y.dtype} {y.shape}"
            )
        scale = max(float(np.abs(truth).max()), float(np.finfo(np.float32).tiny))
        error = float(np.abs(y - truth).max()) / scale
        if not error <= TOLERANCE:  # NaN fails too
            raise WrongResultError(
                f"{variant.name}: error {error:.1e} of the largest output, allowed {TOLERANCE:.0e}"
            )
        worst = max(worst, error)
        if number == 0 and variant.exact is not None:
            bits = expected.exact(variant.exact).view(np.uint32)
            if not np.array_equal(y[expected.exact_rows].view(np.uint32), bits):
                raise WrongResultError(f"{variant.name}: bits differ from the exact reference")
    return worst
