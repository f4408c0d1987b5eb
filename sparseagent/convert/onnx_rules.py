"""What nodes of ONNX are as ops: one rule an operator, found by its name.

A rule takes the node's place in the graph and its inputs, computed tensors as `Features` and
constants as arrays, None for those left out; it gives one result or a list. Nodes of constants
alone are in `onnx_constants`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.features import Features, Spread, chunk_sizes, concat
from sparseagent.convert.onnx_file import DTYPES, Node
from sparseagent.csr import Float32
from sparseagent.unsupported import UnsupportedError

Rule = Callable[..., Any]
AnyRule = TypeVar("AnyRule", bound=Rule)

#: The rules of nodes that something computed goes into.
RULES: dict[str, Rule] = {}
#: Numbers that a constant may grow to.
MOST_NUMBERS = 1 << 22


@dataclass(frozen=True)
class At:
    """A node's place: its attributes, the version of its operator, names of its inputs."""

    node: Node
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    def axes(self, given: Any) -> list[int] | None:
        """Axes as newer operators have them, an input, or as an attribute."""
        found = self.get("axes") if given is None else np.asarray(given).ravel().tolist()
        return None if found is None else [int(axis) for axis in found]


def enter(table: dict[str, Rule], *names: str) -> Callable[[AnyRule], AnyRule]:
    """Enter a function in a table under these operators."""

    def entered(function: AnyRule) -> AnyRule:
        table.update(dict.fromkeys(names, function))
        return function

    return entered


def rule(*names: str) -> Callable[[AnyRule], AnyRule]:
    """Enter a function as the rule of these operators."""
    return enter(RULES, *names)


def check_count(count: int) -> None:
    """Raise ValueError where a small file asks for a large array."""
    if count > MOST_NUMBERS:
        raise ValueError(f"expected at most {MOST_NUMBERS:,} numbers, got {count:,}")


def _matrix(name: str, array: Any) -> Float32:
    if isinstance(array, Features):
        raise UnsupportedError(f"{name}: expected a constant, got a computed tensor")
    if array.dtype != np.float32:
        raise UnsupportedError(f"{name}: expected float32, got {array.dtype}")
    matrix: Float32 = array
    return matrix


def _computed(x: Any) -> Features:
    if not isinstance(x, Features):
        raise UnsupportedError("expected its first input to be computed, got a constant")
    return x


@rule("Gemm")
def _gemm(at: At, x: Any, b: Any, c: Any = None) -> Features:
    if at.get("transA", 0):
        raise UnsupportedError("transA: expected 0, so that the batch stays the first axis")
    matrix = _matrix("B", b)
    if matrix.ndim != 2:
        raise ValueError(f"B: expected a matrix, got shape {matrix.shape}")
    weight = matrix if at.get("transB", 0) else matrix.T
    alpha, beta = at.get("alpha", 1.0), at.get("beta", 1.0)
    weight = np.ascontiguousarray(weight if alpha == 1 else weight * np.float32(alpha))
    key = at.node.inputs[1]
    if isinstance(c, Features):
        return _computed(x).linear(weight, None, key).add(c.affine(beta, 0.0))
    bias = None if c is None else np.asarray(c) * np.float32(beta)
    if bias is not None and bias.ndim == 2 and len(bias) == 1:
        bias = bias[0]
    if bias is None or bias.ndim > 1 or bias.size not in (1, len(weight)):
        result = _computed(x).linear(weight, None, key)
        return result if bias is None else result.add(bias)
    spread = np.broadcast_to(bias.reshape(-1), len(weight)).astype(np.float32)
    return _computed(x).linear(weight, spread, key)


@rule("MatMul")
def _matmul(at: At, x: Any, b: Any) -> Features:
    matrix = _matrix("B", b)
    if matrix.ndim == 1:
        return _computed(x).linear(matrix[None], None).squeeze([-1])
    if matrix.ndim > 2 and math.prod(matrix.shape[:-2]) == 1:
        matrix = matrix.reshape(matrix.shape[-2:])
    if matrix.ndim != 2:
        raise UnsupportedError(f"B: expected one matrix, got shape {matrix.shape}")
    return _computed(x).linear(np.ascontiguousarray(matrix.T), None, at.node.inputs[1])


@rule("Add")
def _add(at: At, x: Any, y: Any) -> Features:
    return x.add(y) if isinstance(x, Features) else _computed(y).add(x)


@rule("Sub")
def _sub(at: At, x: Any, y: Any) -> Features:
    if not isinstance(x, Features):
        return _computed(y).negate().add(x)
    return x.add(y.negate() if isinstance(y, Features) else -np.asarray(y, np.float64))


@rule("Mul")
def _mul(at: At, x: Any, y: Any) -> Features:
    return x.multiply(y) if isinstance(x, Features) else _computed(y).multiply(x)


@rule("Div")
def _div(at: At, x: Any, y: Any) -> Features:
    if not isinstance(x, Features):
        raise UnsupportedError("expected a constant divisor, got a computed one")
    return x.divide(y)


@rule("Sqrt")
def _sqrt(at: At, x: Features) -> Spread:
    return x.root()


@rule("Neg")
def _neg(at: At, x: Features) -> Features:
    return x.negate()


@rule("Pow")
def _pow(at: At, x: Any, exponent: Any) -> Features:
    power = None if isinstance(exponent, Features) else np.unique(exponent).tolist()
    if power not in ([1], [2], [3]):
        raise UnsupportedError(f"expected the exponent 1, 2 or 3, got {exponent!s:.40}")
    data = _computed(x)
    return data if power == [1] else data.multiply(data if power == [2] else data.multiply(data))


@rule("Sum", "Mean")
def _sum(at: At, *parts: Any) -> Features:
    total = next(part for part in parts if isinstance(part, Features))
    for part in parts:
        if part is not total:
            total = total.add(part)
    return total.affine(1 / len(parts), 0.0) if at.node.kind == "Mean" else total


@rule("Clip")
def _clip(at: At, x: Features, low: Any = None, high: Any = None) -> Features:
    bounds = []
    for name, given in (("min", low), ("max", high)):
        bound = at.get(name) if given is None else given
        if isinstance(bound, Features):
            raise UnsupportedError(f"{name}: expected a constant, got a computed tensor")
        bounds.append(None if bound is None else float(np.asarray(bound).reshape(-1)[0]))
    return _computed(x).clamp(*bounds)


@rule("Min", "Max")
def _bound(at: At, *parts: Any) -> Features:
    (x, *others) = [part for part in parts if isinstance(part, Features)]
    if others:
        raise UnsupportedError("expected constants beside one computed tensor, got several")
    for part in parts:
        if part is x:
            continue
        if part.size == 0 or not (part == part.flat[0]).all():
            raise UnsupportedError("expected one bound for all features, got several")
        number = float(part.flat[0])
        x = x.clamp(None, number) if at.node.kind == "Min" else x.clamp(number, None)
    return x


_ACTIVATIONS = {
    **{"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Softplus": "softplus"},
    **{"Softsign": "softsign", "Mish": "mish"},
}


@rule(*_ACTIVATIONS)
def _activation(at: At, x: Features) -> Features:
    return x.activation(_ACTIVATIONS[at.node.kind])


@rule("Elu", "Celu", "LeakyRelu")
def _with_alpha(at: At, x: Features) -> Features:
    names = {"Elu": ("elu", 1.0), "Celu": ("celu", 1.0), "LeakyRelu": ("leaky_relu", 0.01)}
    name, default = names[at.node.kind]
    return x.activation(name, float(at.get("alpha", default)))


@rule("Selu")
def _selu(at: At, x: Features) -> Features:
    alpha, gamma = at.get("alpha", 1.6732632423543772), at.get("gamma", 1.0507009873554805)
    if abs(alpha - 1.6732632) < 1e-6 and abs(gamma - 1.0507010) < 1e-6:
        return x.activation("selu")
    return x.activation("elu", float(alpha)).affine(gamma, 0.0)


@rule("Gelu")
def _gelu(at: At, x: Features) -> Features:
    return x.activation("gelu" if at.get("approximate", "none") == "none" else "gelu_tanh")


@rule("HardSigmoid")
def _hard_sigmoid(at: At, x: Features) -> Features:
    return x.affine(at.get("alpha", 0.2), at.get("beta", 0.5)).clamp(0.0, 1.0)


@rule("HardSwish")
def _hard_swish(at: At, x: Features) -> Features:
    return x.multiply(x.affine(1 / 6, 0.5).clamp(0.0, 1.0))


@rule("Swish")
def _swish(at: At, x: Features) -> Features:
    alpha = float(at.get("alpha", 1.0))
    return (
        x.activation("silu")
        if alpha == 1
        else x.multiply(x.affine(alpha, 0.0).activation("sigmoid"))
    )


@rule("PRelu")
def _prelu(at: At, x: Any, slope: Any) -> Features:
    data = _computed(x)
    return data.activation("relu").add(
        data.negate().activation("relu").affine(-np.asarray(slope, np.float64), 0.0)
    )


@rule("Softmax")
def _softmax(at: At, x: Features) -> Features:
    if at.opset >= 13:
        return x.softmax(int(at.get("axis", -1)))
    row = x.axis(int(at.get("axis", 1)))  # everything from this axis on is one group
    flat = x.reshape((x.batch, *x.shape[:row], math.prod(x.shape[row:])))
    return flat.softmax(-1).reshape(x.full_shape)


@rule("LayerNormalization")
def _layer_norm(at: At, x: Features, scale: Any, bias: Any = None) -> Features:
    row = x.axis(int(at.get("axis", -1)))
    normed = x.norm("layer", float(at.get("epsilon", 1e-5)), len(x.shape) - row)
    return normed.affine(_matrix("Scale", scale), 0.0 if bias is None else _matrix("B", bias))


@rule("RMSNormalization")
def _rms_norm(at: At, x: Features, scale: Any) -> Features:
    row = x.axis(int(at.get("axis", -1)))
    normed = x.norm("rms", float(at.get("epsilon", 1e-5)), len(x.shape) - row)
    return normed.affine(_matrix("scale", scale), 0.0)


@rule("LpNormalization")
def _lp_norm(at: At, x: Features) -> Features:
    if at.get("p", 2) != 2 or x.axis(int(at.get("axis", -1))) != len(x.shape) - 1:
        raise UnsupportedError("expected p 2 over the last axis")
    return x.norm("l2", 1e-30, 1)


@rule("BatchNormalization")
def _batch_norm(at: At, x: Features, scale: Any, bias: Any, mean: Any, var: Any) -> Features:
    if at.get("training_mode", 0):
        raise UnsupportedError("training_mode: expected 0")
    arrays = [
        _matrix(name, part)
        for name, part in zip(("mean", "var", "scale", "B"), (mean, var, scale, bias), strict=True)
    ]
    eps = float(at.get("epsilon", 1e-5))
    return x.batch_norm(arrays[0], arrays[1], eps, arrays[2], arrays[3])


@rule("ReduceMean", "ReduceSum")
def _reduce(at: At, x: Features, axes: Any = None) -> Features:
    found, keep = at.axes(axes), bool(at.get("keepdims", 1))
    if not found:
        if at.get("noop_with_empty_axes", 0):
            return x
        raise UnsupportedError("axes: expected some, got none, which takes the batch together")
    return x.mean(found, keep=keep, total=at.node.kind == "ReduceSum")


@rule("Identity", "Dropout")
def _same(at: At, x: Features, ratio: Any = None, training: Any = None) -> Features:
    if training is not None and np.any(training):
        raise UnsupportedError("training_mode: expected false")
    return x


@rule("Cast")
def _cast(at: At, x: Features) -> Features:
    if DTYPES.get(at.get("to")) != "float32":
        raise UnsupportedError(f"to: expected float32, got {DTYPES.get(at.get('to'))}")
    return x


@rule("Shape")
def _shape(at: At, x: Features) -> NDArray[np.int64]:
    return np.array(x.full_shape, np.int64)[slice(at.get("start", 0), at.get("end"))]


@rule("Size")
def _size(at: At, x: Features) -> NDArray[np.int64]:
    return np.array(math.prod(x.full_shape), np.int64)


@rule("Reshape")
def _reshape(at: At, x: Any, shape: Any) -> Features:
    data = _computed(x)
    sizes = np.asarray(shape).ravel().tolist()
    if not at.get("allowzero", 0):
        full = data.full_shape
        sizes = [full[i] if n == 0 and i < len(full) else n for i, n in enumerate(sizes)]
    return data.reshape(sizes)


@rule("Flatten")
def _flatten(at: At, x: Features) -> Features:
    if at.get("axis", 1) % (len(x.shape) + 1) != 1 and x.shape:
        raise UnsupportedError(f"axis: expected 1, got {at.get('axis')}")
    return x.flatten()


@rule("Squeeze")
def _squeeze(at: At, x: Features, axes: Any = None) -> Features:
    return x.squeeze(at.axes(axes))


@rule("Unsqueeze")
def _unsqueeze(at: At, x: Features, axes: Any = None) -> Features:
    return x.unsqueeze(at.axes(axes) or [])


@rule("Transpose")
def _transpose(at: At, x: Features) -> Features:
    return x.permute(at.get("perm") or list(range(len(x.shape), -1, -1)))


@rule("Expand")
def _expand(at: At, x: Any, shape: Any) -> Features:
    data = _computed(x)
    target = np.broadcast_shapes(data.full_shape, tuple(np.asarray(shape).ravel().tolist()))
    if target[0] != data.batch:
        raise UnsupportedError("expected the batch to stay the first axis")
    return data.expand(target[1:])


@rule("Tile")
def _tile(at: At, x: Any, repeats: Any) -> Features:
    data = _computed(x)
    counts = np.asarray(repeats).ravel().tolist()
    if len(counts) != len(data.shape) + 1 or counts[0] != 1:
        raise UnsupportedError(f"repeats: expected 1 for the batch, got {counts}")
    check_count(math.prod(counts) * data.value.size)
    return data.index(np.tile(data.numbers(), counts[1:]))


@rule("Concat")
def _concat(at: At, *parts: Any) -> Features:
    computed = next(part for part in parts if isinstance(part, Features))
    return concat([computed.constant(part) for part in parts], int(at.get("axis", 0)))


@rule("Slice")
def _slice(
    at: At, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> Features:
    data = _computed(x)
    first, last = (
        at.get(name) if given is None else np.asarray(given).ravel().tolist()
        for name, given in (("starts", starts), ("ends", ends))
    )
    where = at.axes(axes) or list(range(len(first)))
    strides = [1] * len(first) if steps is None else np.asarray(steps).ravel().tolist()
    for axis, start, stop, step in zip(where, first, last, strides, strict=True):
        size = data.full_shape[axis]
        end = None if step < 0 and stop < -size else stop
        data = data.narrow(axis, start, end, step)
    return data


@rule("Split")
def _split(at: At, x: Any, sizes: Any = None) -> list[Features]:
    data = _computed(x)
    axis = int(at.get("axis", 0))
    total = data.shape[data.axis(axis)]
    given = at.get("split") if sizes is None else np.asarray(sizes).ravel().tolist()
    if given is None:
        count = int(at.get("num_outputs", len(at.node.outputs)))
        given = chunk_sizes(total, -(-total // max(count, 1)))
    return data.split(given, axis)


@rule("Gather")
def _gather(at: At, x: Any, indices: Any) -> Features:
    data = _computed(x)
    if isinstance(indices, Features):
        raise UnsupportedError("indices: expected constants, got computed ones")
    row = data.axis(int(at.get("axis", 0)))
    check_count(indices.size * data.value.size // max(data.shape[row], 1))
    try:
        return data.index(np.take(data.numbers(), indices.astype(np.int64), axis=row))
    except IndexError as error:
        raise ValueError(f"indices: {error}") from error
