"""Nodes of ONNX that constants alone go into, computed at once: exporters spell shapes with them.

No result grows beyond what `check_count` allows, whatever a small file asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.onnx_file import DTYPES
from sparseagent.convert.onnx_rules import AnyRule, At, Rule, check_count, enter
from sparseagent.unsupported import UnsupportedError

#: The rules of nodes of constants alone.
CONSTANTS: dict[str, Rule] = {}


def _constant_rule(*names: str) -> Callable[[AnyRule], AnyRule]:
    return enter(CONSTANTS, *names)


@_constant_rule("Constant")
def _constant(at: At) -> NDArray[Any]:
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    for name, value in at.node.attributes.items():
        if name == "value" and isinstance(value, np.ndarray):
            return value
        if name in ("value_float", "value_floats", "value_int", "value_ints"):
            return np.array(value, kinds.get(name, np.int64))
    raise UnsupportedError("expected numbers")


@_constant_rule("ConstantOfShape")
def _constant_of_shape(at: At, shape: Any) -> NDArray[Any]:
    sizes = np.asarray(shape).ravel().tolist()
    check_count(math.prod(max(n, 0) for n in sizes))
    value = np.asarray(at.get("value", np.zeros(1, np.float32)))
    return np.full(sizes, value.reshape(-1)[0], value.dtype)


@_constant_rule("Expand")
def _expand_constant(at: At, x: Any, shape: Any) -> NDArray[Any]:
    target = np.broadcast_shapes(x.shape, tuple(np.asarray(shape).ravel().tolist()))
    check_count(math.prod(target))
    return np.broadcast_to(x, target).copy()


@_constant_rule("Cast")
def _cast_constant(at: At, x: Any) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        array: NDArray[Any] = x.astype(DTYPES[at.get("to")])
    return array


@_constant_rule("Concat")
def _concat_constants(at: At, *parts: Any) -> NDArray[Any]:
    check_count(sum(part.size for part in parts))
    return np.concatenate(parts, axis=int(at.get("axis", 0)))


@_constant_rule("Unsqueeze")
def _unsqueeze_constant(at: At, x: Any, axes: Any = None) -> NDArray[Any]:
    array: NDArray[Any] = np.expand_dims(x, tuple(at.axes(axes) or ()))
    return array


@_constant_rule("Squeeze")
def _squeeze_constant(at: At, x: Any, axes: Any = None) -> NDArray[Any]:
    found = at.axes(axes)
    array: NDArray[Any] = np.squeeze(x, None if found is None else tuple(found))
    return array


@_constant_rule("Slice")
def _slice_constant(
    at: At, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> NDArray[Any]:
    first, last = (
        at.get(name) if given is None else np.asarray(given).ravel().tolist()
        for name, given in (("starts", starts), ("ends", ends))
    )
    where = at.axes(axes) or list(range(len(first)))
    strides = [1] * len(first) if steps is None else np.asarray(steps).ravel().tolist()
    result: NDArray[Any] = x
    for axis, start, stop, step in zip(where, first, last, strides, strict=True):
        end = None if step < 0 and stop < -x.shape[axis] else stop
        result = result[(*(slice(None),) * (axis % x.ndim), slice(start, end, step))]
    return result


@_constant_rule("Gather")
def _gather_constant(at: At, x: Any, indices: Any) -> NDArray[Any]:
    check_count(indices.size * x.size)
    array: NDArray[Any] = np.take(x, indices, axis=int(at.get("axis", 0)))
    return array


@_constant_rule("Reshape")
def _reshape_constant(at: At, x: Any, shape: Any) -> NDArray[Any]:
    sizes = np.asarray(shape).ravel().tolist()
    array: NDArray[Any] = x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(sizes)])
    return array


@_constant_rule("Transpose")
def _transpose_constant(at: At, x: Any) -> NDArray[Any]:
    return np.ascontiguousarray(np.transpose(x, at.get("perm")))


@_constant_rule("Shape")
def _shape_constant(at: At, x: Any) -> NDArray[Any]:
    return np.array(x.shape, np.int64)[slice(at.get("start", 0), at.get("end"))]


@_constant_rule("Identity")
def _same_constant(at: At, x: Any) -> NDArray[Any]:
    array: NDArray[Any] = x
    return array


def _elementwise(function: Callable[..., Any]) -> Rule:
    def compute(at: At, *parts: Any) -> NDArray[Any]:
        check_count(math.prod(np.broadcast_shapes(*(part.shape for part in parts))))
        with np.errstate(all="ignore"):
            return np.asarray(function(*parts)).astype(parts[0].dtype)

    return compute


for _name, _function in (
    *(("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Neg", np.negative)),
    *(("Sqrt", np.sqrt), ("Exp", np.exp), ("Reciprocal", np.reciprocal), ("Pow", np.power)),
    *(("Max", np.maximum), ("Min", np.minimum), ("Abs", np.abs)),
):
    CONSTANTS[_name] = _elementwise(_function)


@_constant_rule("Div")
def _div_constants(at: At, x: Any, y: Any) -> NDArray[Any]:
    check_count(math.prod(np.broadcast_shapes(x.shape, y.shape)))
    with np.errstate(all="ignore"):
        whole = np.issubdtype(x.dtype, np.integer)
        if whole and not np.all(y):
            raise ValueError("expected a divisor without zeros")
        quotient = np.trunc(x / y) if whole else x / y
    return np.asarray(quotient).astype(x.dtype)
