"""Decodes numbers, arrays and attributes from the tree that `inert_pickle` reads, and `.npy`."""

from __future__ import annotations

import io
import math
import re
import tokenize
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.inert_pickle import Call, Name, brief, describe

_CODE = re.compile(r"(b1|[iu][1248]|f[248])\Z")
# What numbers and names of the wrong kind can end in.
_DAMAGE = (TypeError, ValueError, IndexError, OverflowError, SyntaxError, RecursionError)
_MOST_AXES = 32
_LONGEST_AXIS = 1 << 40
_NUMPY = frozenset(
    {
        *("numpy", "numpy.core.multiarray", "numpy._core.multiarray"),
        *("numpy.core.numeric", "numpy._core.numeric"),
    }
)


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
    except _DAMAGE as error:
        raise ValueError(f"{name}: expected a pickled array of numbers: {brief(error)}") from error
    raise ValueError(f"{name}: expected a pickled array of numbers, got {describe(node)}")


def npy_array(name: str, content: bytes) -> NDArray[Any]:
    """The array in the bytes of a `.npy` file, which must hold numbers.

    Raises:
        ValueError: the bytes are no such file.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"expected version 1.0 of the format, got {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=1000)
        raw = content[stream.tell() :]
        if dtype.kind not in "biuf" or not _is_shape(shape):
            raise ValueError(f"got {dtype} (allow_pickle=False)")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"shape {shape} does not fit {len(raw)} bytes")
    except (*_DAMAGE, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"{name}: expected an array of numbers: {brief(error)}") from error
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def number(name: str, node: Any) -> float:
    """A Python or NumPy number.

    Raises:
        ValueError: `node` is none.
    """
    if isinstance(node, int) and node.bit_length() > 64:
        raise ValueError(f"{name}: expected a number of up to 64 bits, got {describe(node)}")
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
    code = node.args[0] if _is_call(node, "dtype") and node.args else None
    if not isinstance(code, str) or not _CODE.match(code):
        raise ValueError(f"got {describe(node)}")
    stated = node.state[1] if isinstance(node.state, tuple) and len(node.state) > 1 else "="
    order = stated if isinstance(stated, str) else ""
    if order not in ("<", ">", "=", "|"):
        raise ValueError(f"byte order {describe(stated)}")
    dtype: np.dtype[Any] = np.dtype(f"{order}{code}")
    return dtype


def _from_bytes(raw: Any, dtype_node: Any, shape: Any, order: Any) -> NDArray[Any]:
    dtype = _dtype(dtype_node)
    if isinstance(raw, Call):
        raw = _old_bytes(raw)
    if not isinstance(raw, bytes | bytearray):
        raise ValueError(f"got {type(raw).__name__} for the array's bytes")
    if not _is_shape(shape) or math.prod(shape) * dtype.itemsize != len(raw):
        text = str(tuple(shape)) if _is_shape(shape) else describe(shape)
        raise ValueError(f"shape {text} does not fit {len(raw)} bytes")
    flat = np.frombuffer(bytes(raw), dtype)
    fortran = isinstance(order, str) and order == "F"
    return flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))


def _is_shape(shape: Any) -> bool:
    """Whether it is some sizes, none of which is absurd: their product stays a small number."""
    few = isinstance(shape, tuple | list) and len(shape) <= _MOST_AXES
    return few and all(type(n) is int and 0 <= n <= _LONGEST_AXIS for n in shape)


def _old_bytes(node: Call) -> Any:
    """Bytes as protocols 0 to 2 write them: a call on text, or one that makes empty bytes."""
    if node.callee == Name("_codecs", "encode") and node.args[1:] == ("latin1",):
        text = node.args[0]
        return text.encode("latin1") if isinstance(text, str) else node
    empty = node.callee in (Name("__builtin__", "bytes"), Name("builtins", "bytes"))
    return b"" if empty and not node.args else node
