"""Activations: the stated error bounds against float64, and equal bits on every ISA."""

from __future__ import annotations

import numpy as np
import pytest
from networks import ISAS, same_bits

import sparseagent as sa
from sparseagent.ops.activation import ACTIVATIONS, activate

# Largest error, as a multiple of 2^-23 of |result|, and an absolute floor where the function
# itself goes to 0 faster than float32 can follow. README and DESIGN quote these.
BOUNDS = {
    "identity": (0.0, 0.0),
    "relu": (0.0, 0.0),
    "leaky_relu": (0.5, 1e-45),
    "tanh": (2.0, 1e-45),
    "sigmoid": (2.0, 1e-37),
    "elu": (2.0, 1e-45),
    "silu": (3.0, 1e-35),
    "gelu": (4.0, 5e-8),
    "gelu_tanh": (4.0, 5e-8),
    "selu": (3.0, 1e-45),
    "celu": (2.0, 1e-45),
    "softplus": (2.0, 2e-38),
    "softsign": (1.0, 1e-45),
    "mish": (4.0, 1e-35),
}


def inputs() -> np.ndarray:
    """Float32 numbers of every size: 2^17 bit patterns, and a fine grid where functions bend."""
    bits = np.arange(0, 2**32, 2**15, dtype=np.uint64).astype(np.uint32)
    wide = bits.view(np.float32)
    grid = np.linspace(-20, 20, 200_001).astype(np.float32)
    return np.concatenate((wide[np.isfinite(wide)], grid))


def apply(name: str, x: np.ndarray, isa: str, format: str = "csr") -> np.ndarray:
    """`name(x)` through a plan: a 1-1 layer with weight 1 and bias 0."""
    layer = sa.Layer(np.ones((1, 1), np.float32), np.zeros(1, np.float32), name, ACTIVATIONS[name])
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((1,))))
    return sa.compile(policy, isa=isa, format=format, tune=0)(x[:, None])[:, 0]


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_error_bound(name: str) -> None:
    relative, floor = BOUNDS[name]
    x = inputs()
    got = apply(name, x, ISAS[-1]).astype(np.float64)
    exact = activate(name, ACTIVATIONS[name], x.astype(np.float64))
    exact = np.clip(exact, -(2.0**128), 2.0**128)
    got = np.clip(got, -(2.0**128), 2.0**128)
    error = np.abs(got - exact)
    allowed = relative * 2.0**-23 * np.abs(exact) + floor
    worst = int(np.argmax(error - allowed))
    assert (error <= allowed).all(), (x[worst], got[worst], exact[worst])


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_isa_gives_the_same_bits(name: str) -> None:
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45, 88.8, -88.8], np.float32)
    x = np.concatenate((inputs(), special))
    first = apply(name, x, ISAS[0])
    for isa in ISAS[1:]:
        assert same_bits(apply(name, x, isa), first)
        assert same_bits(apply(name, x, isa, "dense"), first)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_nan_stays_nan(name: str) -> None:
    assert np.isnan(apply(name, np.array([np.nan], np.float32), ISAS[-1]))[0]


@pytest.mark.parametrize(
    ("name", "low", "high"), [("tanh", -1, 1), ("sigmoid", 0, 1), ("relu", 0, np.inf)]
)
def test_limits(name: str, low: float, high: float) -> None:
    got = apply(name, np.array([-np.inf, np.inf], np.float32), ISAS[-1])
    assert got[0] == pytest.approx(low, abs=1e-37)
    assert got[1] == high
