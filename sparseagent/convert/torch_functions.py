"""Rules of torch's activations, norms and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseagent.convert.features import Features
from sparseagent.convert.torch_rules import RULES, Rule, Scope, rule, weights
from sparseagent.unsupported import UnsupportedError


def _plain(name: str) -> Rule:
    def activate(at: Scope, x: Features) -> Features:
        return x.activation(name)

    return activate


for _name in ("relu", "tanh", "sigmoid", "silu", "selu", "softsign", "mish"):
    RULES[_name] = _plain(_name)


@rule("elu")
def _elu(
    at: Scope, x: Features, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> Features:
    if (scale, input_scale) != (1.0, 1.0):
        raise UnsupportedError(f"elu: expected scales of 1, got {scale} and {input_scale}")
    return x.activation("elu", float(alpha))


@rule("celu")
def _celu(at: Scope, x: Features, alpha: float = 1.0) -> Features:
    return x.activation("celu", float(alpha))


@rule("leaky_relu")
def _leaky_relu(at: Scope, x: Features, negative_slope: float = 0.01) -> Features:
    return x.activation("leaky_relu", float(negative_slope))


@rule("prelu")
def _prelu(at: Scope, x: Features, weight: Any) -> Features:
    slope = weights("weight", weight)
    if slope.size == 1:
        return x.activation("leaky_relu", float(slope.flat[0]))
    slope = slope.reshape(-1, *(1,) * (len(x.shape) - 1))
    return x.activation("relu").add(x.negate().activation("relu").affine(-slope, 0.0))


@rule("gelu")
def _gelu(at: Scope, x: Features, *, approximate: str = "none") -> Features:
    return x.activation("gelu" if approximate == "none" else "gelu_tanh")


@rule("softplus")
def _softplus(at: Scope, x: Features, beta: float = 1, threshold: float = 20) -> Features:
    # Beyond torch's threshold it is the input itself, which it is in float32 from 17 on.
    if beta <= 0 or threshold < 17:
        raise ValueError(
            f"softplus: expected a positive beta and a threshold of at least 17, got {beta} and "
            f"{threshold}"
        )
    if beta == 1:
        return x.activation("softplus")
    return x.affine(beta, 0.0).activation("softplus").affine(1.0 / beta, 0.0)


@rule("logsigmoid", "log_sigmoid")
def _logsigmoid(at: Scope, x: Features) -> Features:
    return x.negate().activation("softplus").negate()


@rule("hardsigmoid")
def _hardsigmoid(at: Scope, x: Features) -> Features:
    return x.affine(1 / 6, 0.5).clamp(0.0, 1.0)


@rule("hardswish")
def _hardswish(at: Scope, x: Features) -> Features:
    return x.multiply(_hardsigmoid(at, x))


@rule("tanhshrink")
def _tanhshrink(at: Scope, x: Features) -> Features:
    return x.add(x.activation("tanh").negate())


@rule("softmax", "_softmax")
def _softmax(at: Scope, x: Features, dim: int | None = None, *rest: Any, **given: Any) -> Features:
    if dim is None:
        raise ValueError("softmax: expected dim, got None, which torch guesses")
    return x.softmax(dim)


@rule("softmin")
def _softmin(at: Scope, x: Features, dim: int, *rest: Any, **given: Any) -> Features:
    return x.negate().softmax(dim)


@rule("layer_norm")
def _layer_norm(
    at: Scope,
    x: Features,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Features:
    return _scaled(x.norm("layer", eps, _trailing(x, normalized_shape)), weight, bias)


@rule("native_layer_norm")
def _native_layer_norm(
    at: Scope, x: Features, normalized_shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> tuple[Features, None, None]:
    return _layer_norm(at, x, normalized_shape, weight, bias, eps), None, None


@rule("rms_norm")
def _rms_norm(
    at: Scope,
    x: Features,
    normalized_shape: Sequence[int],
    weight: Any = None,
    eps: float | None = None,
) -> Features:
    small = float(np.finfo(np.float32).eps) if eps is None else eps
    return _scaled(x.norm("rms", small, _trailing(x, normalized_shape)), weight, None)


@rule("normalize")
def _normalize(
    at: Scope, x: Features, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Features:
    if p != 2 or x.axis(dim) != len(x.shape) - 1:
        raise UnsupportedError(f"normalize: expected p 2 over the last axis, got {p} and {dim}")
    return x.norm("l2", eps, 1)


@rule("batch_norm")
def _batch_norm_of_either(at: Scope, x: Features, *rest: Any, **given: Any) -> Features:
    if len(rest) >= 4:  # ATen's order; torch.nn.functional names all but the statistics
        weight, bias, mean, var, training, _, eps, *_ = rest
        return _batch_norm(at, x, mean, var, weight, bias, training, eps=eps)
    return _batch_norm(at, x, *rest, **given)


def _batch_norm(
    at: Scope,
    x: Features,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    **given: Any,
) -> Features:
    if training or running_mean is None or running_var is None:
        raise ValueError("batch_norm: expected running statistics, got those of the batch")
    scale = 1.0 if weight is None else weights("weight", weight)
    shift = 0.0 if bias is None else weights("bias", bias)
    mean, var = weights("running_mean", running_mean), weights("running_var", running_var)
    return x.batch_norm(mean, var, eps, scale, shift)


# ATen names the statistics behind weight and bias.
@rule("_native_batch_norm_legit_no_training")
def _native_batch_norm(
    at: Scope,
    x: Features,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    momentum: float,
    eps: float,
) -> tuple[Features, None, None]:
    result = _batch_norm(at, x, running_mean, running_var, weight, bias, eps=eps)
    return result, None, None


@rule("mean")
def _mean(at: Scope, x: Features, dim: Any = None, keepdim: bool = False, **given: Any) -> Features:
    return x.mean(_axes(dim), keep=keepdim)


@rule("sum")
def _sum(at: Scope, x: Features, dim: Any = None, keepdim: bool = False, **given: Any) -> Features:
    return x.mean(_axes(dim), keep=keepdim, total=True)


def _axes(dim: Any) -> Sequence[int]:
    if dim is None or dim in ((), []):
        raise UnsupportedError("reduction: expected dim, got none, which takes the batch together")
    return [dim] if isinstance(dim, int) else list(dim)


def _trailing(x: Features, normalized: Sequence[int]) -> int:
    shape = tuple(normalized)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"norm: expected the last axes to be {list(shape)}, got {list(x.shape)}")
    return len(shape)


def _scaled(x: Features, weight: Any, bias: Any) -> Features:
    if weight is None and bias is None:
        return x
    scale = 1.0 if weight is None else weights("weight", weight)
    return x.affine(scale, 0.0 if bias is None else weights("bias", bias))
