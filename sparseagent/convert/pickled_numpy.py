"""Decodes numbers, arrays and attributes from the tree that `inert_pickle` reads."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.inert_pickle import Call, Name, describe

_CODE = re.compile(r"(b1|[iu][1248]|f[248])\Z")
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric")
_NUMPY = frozenset((*_MODULES, "numpy._core.numeric"))


def attributes(name: str, node: Any) -> dict[str, Any]:
    """The attributes that a pickled object would get.

    Raises:
        ValueError: `node` is no pickled object with plain attributes.
    """
    state = node.state if isinstance(node, Call) else None
    if isinstance(state, tuple) and len(state) == 2:
        state = state[0]
    if not isinstance(state, dict):
        raise ValueError(f"{name}: expected a pickled object with attributes, got {describe(node)}")
    return state


def array(name: str, node: Any) -> NDArray[Any]:
    """A NumPy array of numbers, whatever pickle protocol wrote it.

    Raises:
        ValueError: `node` is no such array.
    """
    try:
        if _is_call(node, "_reconstruct"):
            _, shape, dtype, fortran, raw = node.state
            return _from_bytes(raw, dtype, shape, "F" if fortran else "C")
        if _is_call(node, "_frombuffer"):
            raw, dtype, shape, order = node.args
            return _from_bytes(raw, dtype, shape, order)
        if _is_call(node, "scalar"):
            dtype, raw = node.args
            return _from_bytes(raw, dtype, (), "C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected a pickled array of numbers: {error}") from error
    raise ValueError(f"{name}: expected a pickled array of numbers, got {describe(node)}")


def number(name: str, node: Any) -> float:
    """A Python or NumPy number.

    Raises:
        ValueError: `node` is none.
    """
    if isinstance(node, bool | int | float):
        return node
    scalar = array(name, node)
    if scalar.size != 1:
        raise ValueError(f"{name}: expected one number, got shape {scalar.shape}")
    value: float = scalar.item()
    return value


def _is_call(node: Any, qualname: str) -> bool:
    callee = node.callee if isinstance(node, Call) else None
    return isinstance(callee, Name) and callee.module in _NUMPY and callee.qualname == qualname


def _dtype(node: Any) -> np.dtype[Any]:
    if not _is_call(node, "dtype") or not _CODE.match(str(node.args[0])):
        raise ValueError(f"got {describe(node)}")
    order = node.state[1] if node.state else "="
    if order not in ("<", ">", "=", "|"):
        raise ValueError(f"byte order {order!r}")
    dtype: np.dtype[Any] = np.dtype(node.args[0]).newbyteorder(order)
    return dtype


def _from_bytes(raw: Any, dtype_node: Any, shape: Any, order: str) -> NDArray[Any]:
    dtype = _dtype(dtype_node)
    if isinstance(raw, Call):
        raw = _old_bytes(raw)
    if not isinstance(raw, bytes | bytearray):
        raise ValueError(f"got {type(raw).__name__} for the array's bytes")
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"shape {shape} does not fit {len(raw)} bytes")
    flat = np.frombuffer(bytes(raw), dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C").astype(dtype.newbyteorder("="))


def _old_bytes(node: Call) -> Any:
    """Bytes as protocols 0 to 2 write them: a call on text, or one that makes empty bytes."""
    if node.callee == Name("_codecs", "encode") and node.args[1:] == ("latin1",):
        return str(node.args[0]).encode("latin1")
    empty = node.callee in (Name("__builtin__", "bytes"), Name("builtins", "bytes"))
    return b"" if empty and not node.args else node
