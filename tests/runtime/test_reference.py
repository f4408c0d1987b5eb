"""The scalar reference against exact rational arithmetic, and its tree against a hand-made one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import floats, random_csr

import sparseagent as sa
from sparseagent.reference import error_bound, forward_exact


def round_to_float32(exact: Fraction) -> np.float32:
    """Round to nearest, ties to even, denormals included: IEEE 754 in integers."""
    if exact == 0:
        return np.float32(0)
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    while Fraction(2) ** exponent > size:
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= size:
        exponent += 1
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    steps, rest = divmod(size, unit)
    tie = rest * 2 == unit
    if rest * 2 > unit or (tie and steps % 2 == 1):
        steps += 1
    value = steps * unit
    if value >= 2**128:
        return np.float32(np.inf if exact > 0 else -np.inf)
    return np.float32(float(value if exact > 0 else -value))


def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    return round_to_float32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))


def add(a: np.float32, b: np.float32) -> np.float32:
    return round_to_float32(Fraction(float(a)) + Fraction(float(b)))


def rational_layer(csr: sa.CSR, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The contract, step by step, in exact arithmetic with one rounding per operation."""
    y = []
    for r in range(csr.shape[0]):
        chains = []
        for s in range(csr.runs):
            acc = bias[r] if s == 0 else np.float32(0)
            start, stop = csr.indptr[r * csr.runs + s], csr.indptr[r * csr.runs + s + 1]
            for k in range(start, stop):
                acc = fma(csr.values[k], x[csr.indices[k]], acc)
            chains.append(acc)
        while len(chains) > 1:
            pairs = [add(a, b) for a, b in zip(chains[::2], chains[1::2], strict=False)]
            chains = pairs + chains[len(chains) // 2 * 2 :]
        y.append(chains[0])
    return np.array(y, np.float32)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    runs=st.integers(1, 6),
    special=st.lists(floats(), min_size=3, max_size=3),
)
def test_reference_is_the_contract(seed: int, runs: int, special: list[float]) -> None:
    rng = np.random.default_rng(seed)
    csr = random_csr(rng, 4, 7, 0.3, runs)
    bias = rng.normal(size=4).astype(np.float32)
    bias[rng.integers(4)] = special[0]
    x = rng.normal(size=7).astype(np.float32)
    x[rng.integers(0, 7, 2)] = special[1:]
    policy = sa.SparsePolicy(sa.chain((sa.Layer(csr, bias),), sa.Observation((7,))))
    got = forward_exact(policy.program, x[None])[0]
    expected = rational_layer(csr, bias, x)
    assert np.array_equal(got, expected), (got, expected)


@given(st.floats(-(2.0**120), 2.0**120), st.integers(-200, 100))
def test_the_rounding_of_this_test_is_right(x: float, power: int) -> None:
    value = float(np.ldexp(x, power)) if abs(x) < 2.0**20 else x
    assert round_to_float32(Fraction(value)) == np.float32(value)


def test_the_error_bound_covers_underflow() -> None:
    """Every product is half a denormal and rounds to zero."""
    tiny = np.full((1, 1000), 2.0**-75, np.float32)
    policy = sa.SparsePolicy(
        sa.chain((sa.Layer(tiny, np.zeros(1, np.float32)),), sa.Observation((1000,)))
    )
    assert forward_exact(policy.program, tiny) == 0
    assert 1000 * 2.0**-150 <= error_bound(policy.program, tiny)[0, 0] < 1e-38


def test_a_sum_of_minus_zero_counts_as_plus_zero() -> None:
    csr = sa.CSR.from_dense(np.zeros((1, 3), np.float32))
    layer = sa.Layer(csr, np.array([-0.0], np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((3,))))
    assert not np.signbit(forward_exact(policy.program, np.zeros((1, 3), np.float32)))[0, 0]
