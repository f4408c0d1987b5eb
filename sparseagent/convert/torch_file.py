"""Reads the tensors that `torch.save` wrote, as arrays, without torch and without running anything.

The file is a zip: `data.pkl` is a pickle that names the tensors and says where they lie in the
storages `data/0`, `data/1`, ... The pickle is read as data (`inert_pickle`); an array is a view of
its storage and costs no memory, whatever shape the file claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sparseagent.convert.archive import Archive
from sparseagent.convert.inert_pickle import PERSISTENT, Call, Name, brief, describe, read_pickle
from sparseagent.csr import Float32
from sparseagent.unsupported import UnsupportedError

_REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_DICTS = (Name("collections", "OrderedDict"), Name("builtins", "dict"))
_DTYPES: Mapping[str, str] = {
    "FloatStorage": "torch.float32",
    "DoubleStorage": "torch.float64",
    "HalfStorage": "torch.float16",
    "BFloat16Storage": "torch.bfloat16",
}
#: Names and places of tensors; the numbers lie beside.
_PICKLE_LIMIT = 16 << 20
#: What is looked up in a file, the actor's part of it: converting more would take tens of seconds.
_MOST_DECODED = 128 << 20
_MOST_AXES = 8
_LARGEST = 1 << 40


class TensorFile(Mapping[str, Float32]):
    """The float32 tensors of a state dict by name; each is decoded when it is asked for.

    Args:
        name: what messages call the file.
        content: its bytes.

    Raises:
        ValueError: the bytes are no such file. So does looking a tensor up that is damaged, lies
            outside its storage, or is not float32; and when tensors that share storages come to
            more numbers than the file has.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        alone = f"{name}: expected tensors alone, as torch 1.6 and newer save them"
        self._archive = Archive(alone, content)
        self._size = len(content)
        self._left = min(len(content), _MOST_DECODED)
        self._storages: dict[str, bytes] = {}
        self._prefix = self._find_prefix()
        pickled = self._archive.read(f"{self._prefix}data.pkl", _PICKLE_LIMIT)
        self._nodes = _entries(alone, read_pickle(alone, pickled, persistent=True))

    def __getitem__(self, key: str) -> Float32:
        storage, offset, shape, strides = self._nodes[key].args[:4]
        name = f"{self._name}: {brief(key)}"
        numbers = self._storage(name, storage)
        _check_view(name, offset, shape, strides, numbers.size)
        view = np.lib.stride_tricks.as_strided(
            numbers[offset:], shape, [4 * stride for stride in strides], writeable=False
        )
        self._left -= view.nbytes
        if self._left < 0:
            raise ValueError(
                f"{name}: expected an actor of at most {_MOST_DECODED >> 20} MiB, whose tensors "
                f"have numbers of their own"
            )
        return view

    def __contains__(self, key: object) -> bool:
        return key in self._nodes  # the inherited one would decode the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def _find_prefix(self) -> str:
        found = [name for name in self._archive.names if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError(f"{self._name}: expected tensors alone, in a zip with one data.pkl")
        prefix = found[0].removesuffix("data.pkl")
        order = f"{prefix}byteorder"
        if order in self._archive.names and self._archive.read(order, 16) != b"little":
            raise ValueError(f"{self._name}: expected little-endian numbers")
        return prefix

    def _storage(self, name: str, node: Any) -> Float32:
        """The numbers of a float32 storage."""
        place = node.args[0] if _is_call(node, PERSISTENT, 1) else None
        if not (isinstance(place, tuple) and len(place) == 5 and place[0] == "storage"):
            raise ValueError(f"{name}: expected a storage, got {describe(node)}")
        _, kind, key, _, size = place
        dtype = _DTYPES.get(kind.qualname, kind.qualname[:40]) if isinstance(kind, Name) else ""
        if dtype != "torch.float32":
            raise UnsupportedError(f"{name}: expected float32, got {dtype or describe(kind)}")
        if not isinstance(key, str):
            raise ValueError(f"{name}: expected the name of a storage, got {describe(key)}")
        if key not in self._storages:
            self._storages[key] = self._archive.read(f"{self._prefix}data/{key}", self._size)
        raw = self._storages[key]
        if not isinstance(size, int) or len(raw) != 4 * size:
            raise ValueError(f"{name}: expected a storage of the stated size, got {len(raw)} bytes")
        return np.frombuffer(raw, "<f4")


def _entries(name: str, tree: Any) -> dict[str, Call]:
    """The calls that would make the tensors, by name."""
    if isinstance(tree, dict):
        pairs: list[Any] = list(tree.items())
    elif isinstance(tree, Call) and tree.callee in _DICTS and not tree.args:
        pairs = tree.items
    else:
        raise ValueError(f"{name}: expected a dict of tensors, got {describe(tree)}")
    entries = {}
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f"{name}: expected tensors by name, got {describe(pair)}")
        key, node = pair
        if _is_call(node, _PARAMETER, 1):
            node = node.args[0]
        if not _is_call(node, _REBUILD, 4):
            raise ValueError(f"{name}: {brief(key)}: got {describe(node)}")
        entries[key] = node
    return entries


def _is_call(node: Any, callee: Name, arguments: int) -> bool:
    return isinstance(node, Call) and node.callee == callee and len(node.args) >= arguments


def _check_view(name: str, offset: Any, shape: Any, strides: Any, size: int) -> None:
    """Every element of the tensor lies in its storage, and there are no more than that has."""
    if not (isinstance(shape, tuple | list) and isinstance(strides, tuple | list)):
        raise ValueError(f"{name}: expected a shape and strides, got {describe(shape)}")
    axes = (offset, *shape, *strides)
    plain = all(type(n) is int and 0 <= n <= _LARGEST for n in axes)
    if not plain or len(shape) != len(strides) or len(shape) > _MOST_AXES or offset > size:
        raise ValueError(f"{name}: expected a tensor that lies in its storage of {size} numbers")
    count, last = 1, offset
    for length, stride in zip(shape, strides, strict=True):
        count, last = count * length, last + max(length - 1, 0) * stride
    if count > size or (count and last >= size):
        raise ValueError(f"{name}: expected a tensor that lies in its storage of {size} numbers")
