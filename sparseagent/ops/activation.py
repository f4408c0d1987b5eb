"""Activations in float64, and how steep they are: the other half of `csrc/core/activations.def`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparseagent import _core
from sparseagent.csr import Float64, nearest_float32

#: Names of the activations, with the default `alpha` of those that take one.
ACTIVATIONS: Mapping[str, float] = _core.ACTIVATIONS

_MAX_ALPHA = float(np.finfo(np.float32).max)  # what the compiled code can hold
_erf = np.vectorize(math.erf, otypes=[np.float64])


def check_activation(name: str, alpha: float) -> None:
    """Raise ValueError unless there is such an activation and `alpha` is finite."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    if not abs(alpha) <= _MAX_ALPHA:  # or NaN
        raise ValueError(f"alpha: expected a finite number, got {alpha}")
    if name == "celu" and not nearest_float32(alpha) > 0:
        raise ValueError(f"alpha: expected a positive number for celu, got {alpha}")


def activate(name: str, alpha: float, x: Float64) -> Float64:
    """The activation `name` in float64, elementwise; see `ACTIVATIONS`."""
    check_activation(name, alpha)
    with np.errstate(over="ignore"):
        # The compiled code holds alpha as float32.
        return np.asarray(_FLOAT64[name](x, float(np.float32(alpha))))


def activation_bound(name: str, alpha: float, total: Float64, error: Float64) -> Float64:
    """A bound on the error of an activation of `total`, which is off by up to `error`.

    A Lipschitz constant of 1.13 (gelu has the steepest slope), or `alpha` where that is more, and
    16 units in the last place for the evaluation.
    """
    unit = 2.0**-24
    slope = max(_SLOPES.get(name, 1.13), abs(alpha))
    value = activate(name, alpha, total)
    return np.asarray(slope * error + 16 * unit * (np.abs(value) + slope * error) + 2.0**-149)


def _sigmoid(x: Float64) -> Float64:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


# Where one is steeper than 1.13.
_SLOPES: Mapping[str, float] = {"selu": 1.0507009873554805 * 1.6732632423543772}

_FLOAT64: dict[str, Callable[[Float64, float], Any]] = {
    "identity": lambda x, _: x,
    "relu": lambda x, _: np.maximum(x, 0.0),
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: _sigmoid(x),
    "elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0)), x),
    "leaky_relu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "silu": lambda x, _: x * _sigmoid(x),
    "gelu": lambda x, _: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x, _: x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "selu": lambda x, _: (
        1.0507009873554805 * np.where(x < 0, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0)), x)
    ),
    "celu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0) / alpha), x),
    "softplus": lambda x, _: np.logaddexp(0.0, x),
    "softsign": lambda x, _: x / (1.0 + np.abs(x)),
    "mish": lambda x, _: x * np.tanh(np.logaddexp(0.0, x)),
}
