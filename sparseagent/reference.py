"""What the compiled plan is checked against: float64 NumPy, and the exact scalar float32 loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent import _core
from sparseagent.csr import Float32, Float64
from sparseagent.policy import SparsePolicy

_erf = np.vectorize(math.erf, otypes=[np.float64])


def forward_float64(policy: SparsePolicy, observations: NDArray[Any]) -> Float64:
    """The network in float64, observation step included: `[B, *shape]` -> float64 `[B, out]`."""
    x = policy.observation.apply(observations).astype(np.float64)
    for layer in policy.layers:
        weight = layer.dense_weight().astype(np.float64)
        x = activate(layer.activation, layer.alpha, x @ weight.T + layer.bias)
    return x


def forward_exact(policy: SparsePolicy, observations: NDArray[Any]) -> Float32:
    """The arithmetic contract, one fused multiply-add after the other, in stored order.

    `[B, *shape]` -> float32 `[B, out]`, before the action head. Every kernel gives these bits.
    """
    rows = policy.observation.apply(observations)
    outputs: Float32 = _core.reference([layer.core_argument() for layer in policy.layers], rows)
    return outputs


def error_bound(policy: SparsePolicy, observations: NDArray[Any]) -> Float64:
    """A bound on |plan - exact real arithmetic| for each output, float64 `[B, out]`.

    Per layer: gamma(n) (|b| + |W| |x|) for the sum of n terms (Higham, 2002, section 3.1), the
    error of the inputs carried through |W|, a Lipschitz constant of 1.13 for the activation
    (gelu has the steepest slope) and 8 units in the last place for its evaluation. Every sum may
    also lose half a denormal at each step; a whole one covers what gamma makes of that.
    """
    unit = 2.0**-24
    x = policy.observation.apply(observations).astype(np.float64)
    error = np.zeros_like(x)
    for layer in policy.layers:
        size = np.abs(layer.dense_weight().astype(np.float64)).T
        terms = np.count_nonzero(size, axis=0) + 1
        gamma = terms * unit / (1 - terms * unit)
        magnitude = (np.abs(x) + error) @ size + np.abs(layer.bias)
        error = error @ size + gamma * magnitude + terms * 2.0**-149
        total = x @ layer.dense_weight().astype(np.float64).T + layer.bias
        x = activate(layer.activation, layer.alpha, total)
        slope = max(1.13, abs(layer.alpha))
        error = slope * error + 16 * unit * (np.abs(x) + slope * error) + 2.0**-149
    return np.asarray(error)


def activate(name: str, alpha: float, x: Float64) -> Float64:
    """The activation `name` in float64, elementwise; see `sparseagent.policy.ACTIVATIONS`."""
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(_ACTIVATIONS)}, got {name!r}")
    with np.errstate(over="ignore"):
        # The compiled code holds alpha as float32.
        return np.asarray(_ACTIVATIONS[name](x, float(np.float32(alpha))))


def _sigmoid(x: Float64) -> Float64:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


_ACTIVATIONS: dict[str, Callable[[Float64, float], Any]] = {
    "identity": lambda x, _: x,
    "relu": lambda x, _: np.maximum(x, 0.0),
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: _sigmoid(x),
    "elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0)), x),
    "leaky_relu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "silu": lambda x, _: x * _sigmoid(x),
    "gelu": lambda x, _: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x, _: x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
}
