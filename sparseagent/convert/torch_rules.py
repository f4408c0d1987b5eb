"""What functions of torch are as ops: one rule a function, found by its name.

A rule takes the function's arguments, tensors that are computed as `Features`, and gives
`Features`, a list of them, or a plain number. A further function is one more rule, here or in
another file that `torch_trace` imports; names are those of torch.nn.functional, of Tensor's methods
and of ATen, which mostly agree. This file has the linear maps and arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from sparseagent.convert.features import Features, Spread
from sparseagent.csr import Float32
from sparseagent.unsupported import UnsupportedError

Rule = Callable[..., Any]
AnyRule = TypeVar("AnyRule", bound=Rule)

#: The rules by the functions' names.
RULES: dict[str, Rule] = {}


#: What a policy activation is called, and the module that stands for it.
ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "selu": nn.SELU,
    "celu": nn.CELU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "mish": nn.Mish,
}


@dataclass(frozen=True)
class Scope:
    """Where a rule stands: what names weights."""

    tracer: Any

    def key(self, weight: torch.Tensor) -> str | None:
        """The name of a weight among the masks."""
        found: str | None = self.tracer.key(weight)
        return found


def rule(*names: str) -> Callable[[AnyRule], AnyRule]:
    """Enter a function as the rule of these names."""

    def enter(function: AnyRule) -> AnyRule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def weights(name: str, tensor: Any) -> Float32:
    """A float32 tensor from any device as an array, sparse layouts made dense.

    Raises:
        UnsupportedError: another dtype: casting it would round, and that choice is the caller's.
        ValueError: a tensor without numbers (on the meta device).
    """
    if isinstance(tensor, Features):
        raise UnsupportedError(f"{name}: expected a constant, got a computed tensor")
    if tensor.dtype != torch.float32:
        raise UnsupportedError(
            f"{name}: expected float32, got {tensor.dtype}; call .float() on the module first, "
            f"so that the rounding is yours"
        )
    if tensor.is_meta:
        raise ValueError(f"{name}: expected numbers, got a tensor on the meta device")
    dense = tensor.detach().cpu()
    if dense.layout != torch.strided:
        dense = dense.to_dense()
    array: Float32 = dense.numpy()
    return array


def constant(name: str, value: Any) -> Any:
    """A number or a constant tensor as NumPy takes it; `Features` as they are."""
    if isinstance(value, Features) or not isinstance(value, torch.Tensor):
        return value
    if value.ndim == 0 or not value.is_floating_point():
        return value.detach().cpu().numpy()
    return weights(name, value)


@rule("linear")
def _linear(at: Scope, x: Any, weight: Any, bias: Any = None) -> Features:
    matrix = weights("weight", weight)
    added = None if bias is None else weights("bias", bias)
    return computed(x).linear(matrix, added, at.key(weight))


@rule("matmul", "mm")
def _matmul(at: Scope, x: Any, other: Any) -> Features:
    if not isinstance(x, Features) or isinstance(other, Features):
        raise UnsupportedError("matmul: expected a computed tensor times a constant matrix")
    matrix = weights("weight", other)
    if matrix.ndim == 1:
        return x.linear(matrix[None], None).squeeze([-1])
    return x.linear(np.ascontiguousarray(matrix.T), None, _untransposed(at, other))


@rule("addmm")
def _addmm(
    at: Scope, bias: Any, x: Any, matrix: Any, *, beta: float = 1, alpha: float = 1
) -> Features:
    if (beta, alpha) != (1, 1):
        raise UnsupportedError(f"addmm: expected beta and alpha 1, got {beta} and {alpha}")
    return _matmul(at, x, matrix).add(constant("bias", bias))


def _untransposed(at: Scope, matrix: torch.Tensor) -> str | None:
    """The name of the parameter whose transpose a matrix is."""
    base = matrix._base
    return at.key(base) if base is not None and base.shape == matrix.shape[::-1] else None


@rule("add")
def _add(at: Scope, x: Any, y: Any, *, alpha: float = 1) -> Features:
    other: Any = constant("add", y)
    if alpha != 1:
        other = other.affine(alpha, 0.0) if isinstance(other, Features) else other * alpha
    if not isinstance(x, Features):
        return computed(other).add(constant("add", x))
    return x.add(other)


@rule("sub", "subtract")
def _sub(at: Scope, x: Any, y: Any, *, alpha: float = 1) -> Features:
    return _add(at, x, y, alpha=-alpha)


@rule("rsub")
def _rsub(at: Scope, x: Any, y: Any, *, alpha: float = 1) -> Features:
    return _add(at, y, x, alpha=-alpha)


@rule("mul", "multiply")
def _mul(at: Scope, x: Any, y: Any) -> Features:
    first, second = constant("mul", x), constant("mul", y)
    if isinstance(first, Features):
        return first.multiply(second)
    return computed(second).multiply(first)


@rule("sqrt")
def _sqrt(at: Scope, x: Features) -> Spread:
    return x.root()


@rule("rsqrt")
def _rsqrt(at: Scope, x: Features) -> Spread:
    return x.root(inverse=True)


@rule("div", "divide", "true_divide")
def _div(at: Scope, x: Any, y: Any, *, rounding_mode: str | None = None) -> Features:
    if rounding_mode is not None:
        raise UnsupportedError(f"div: expected no rounding, got {rounding_mode}")
    if not isinstance(x, Features):
        raise UnsupportedError("div: expected a constant divisor, got a computed one")
    return x.divide(constant("div", y))


@rule("rdiv")
def _rdiv(at: Scope, x: Any, y: Any) -> Features:
    return _div(at, y, x)


@rule("neg", "negative")
def _neg(at: Scope, x: Features) -> Features:
    return x.negate()


@rule("pow", "square")
def _pow(at: Scope, x: Features, exponent: Any = 2) -> Features:
    if exponent not in (1, 2, 3):
        raise UnsupportedError(f"pow: expected the exponent 1, 2 or 3, got {exponent}")
    return x if exponent == 1 else x.multiply(x if exponent == 2 else x.multiply(x))


@rule("lerp")
def _lerp(at: Scope, x: Any, end: Any, weight: Any) -> Features:
    if not isinstance(x, Features) or not isinstance(end, Features):
        raise UnsupportedError("lerp: expected computed ends")
    return x.lerp(end, constant("weight", weight))


@rule("clamp", "clip")
def _clamp(at: Scope, x: Features, min: Any = None, max: Any = None) -> Features:
    return x.clamp(_bound("min", min), _bound("max", max))


@rule("hardtanh")
def _hardtanh(at: Scope, x: Features, min_val: Any = -1.0, max_val: Any = 1.0) -> Features:
    return x.clamp(_bound("min_val", min_val), _bound("max_val", max_val))


@rule("max")
def _max(at: Scope, x: Any, other: Any = None, **given: Any) -> Features:
    if other is None or isinstance(other, int) or given:
        raise UnsupportedError("max: expected a constant tensor as bound, got a reduction")
    return _clamp_min(at, x, other)


@rule("min")
def _min(at: Scope, x: Any, other: Any = None, **given: Any) -> Features:
    if other is None or isinstance(other, int) or given:
        raise UnsupportedError("min: expected a constant tensor as bound, got a reduction")
    return _clamp_max(at, x, other)


@rule("clamp_min", "maximum")
def _clamp_min(at: Scope, x: Any, min: Any) -> Features:
    first, bound = (x, min) if isinstance(x, Features) else (min, x)
    return computed(first).clamp(_bound("min", bound), None)


@rule("clamp_max", "minimum")
def _clamp_max(at: Scope, x: Any, max: Any) -> Features:
    first, bound = (x, max) if isinstance(x, Features) else (max, x)
    return computed(first).clamp(None, _bound("max", bound))


@rule("relu6")
def _relu6(at: Scope, x: Features) -> Features:
    return x.clamp(0.0, 6.0)


def _bound(name: str, bound: Any) -> float | None:
    if bound is None:
        return None
    array = np.asarray(constant(name, bound) if not isinstance(bound, Features) else np.nan)
    if array.size == 0 or not (array == array.flat[0]).all():
        raise UnsupportedError(f"{name}: expected one constant bound for all features")
    return float(array.flat[0])


def computed(x: Any) -> Features:
    """`x`, which has to be a computed tensor."""
    if not isinstance(x, Features):
        raise UnsupportedError(f"expected a computed tensor, got {type(x).__name__}")
    return x
