"""Reads an ONNX file as data: nodes in order, constants as arrays, nothing beside the file.

Protobuf parses in memory in proportion to the file. Tensors that claim more numbers than they have
are refused, as are those that lie in other files; whoever walks the graph bounds what its nodes
may make of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.extras import needed

_FILE_LIMIT = 1 << 30
_MOST_NODES = 1 << 14
_MOST_AXES = 8
#: ONNX's numbers of types, as NumPy knows them.
DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"},
    **{9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64"},
}
_FIELDS = {
    1: "float_data",
    11: "double_data",
    7: "int64_data",
    12: "uint64_data",
    13: "uint64_data",
}
_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS = 1, 2, 3, 4, 6, 7


@dataclass(frozen=True, eq=False)
class Node:
    """A node of the graph.

    Attributes:
        kind: such as `"Gemm"`.
        name: what messages call it.
        inputs: names of what it takes; `""` for one that is left out.
        outputs: names of what it gives.
        attributes: numbers, texts, lists and arrays by name.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Port:
    """An input or output: its shape, None for axes without a number, and its type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Graph:
    """A model, read.

    Attributes:
        size: bytes of the file.
        opset: version of ONNX's own operators.
        constants: arrays by name.
        producer: who wrote it, and its version.
        proto: the model as the package `onnx` holds it.
    """

    size: int
    opset: int
    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    constants: dict[str, NDArray[Any]]
    producer: str
    proto: Any


def read_graph(path: str | Path | bytes) -> Graph:
    """Read a file, or its content.

    Raises:
        ValueError: no ONNX model, a damaged one, one that is too large or lies in several files.
        FileNotFoundError: no such file.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise needed(error, "sparseagent.from_onnx") from None

    content = path if isinstance(path, bytes) else _content(Path(path))
    name = "model" if isinstance(path, bytes) else str(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ValueError(f"{name}: expected an ONNX model, got a damaged or other file") from error
    if not model.graph.node or not model.opset_import:
        raise ValueError(f"{name}: expected an ONNX model, got a file without a graph")
    try:
        return _graph(model, len(content))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _FILE_LIMIT:
        raise ValueError(f"{path}: expected at most {_FILE_LIMIT:,} bytes, got {size:,}")
    return path.read_bytes()


def _graph(model: Any, size: int) -> Graph:
    graph = model.graph
    if len(graph.node) > _MOST_NODES or len(graph.sparse_initializer):
        raise ValueError(f"graph: expected at most {_MOST_NODES} nodes and plain initializers")
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    constants = {_text(entry.name): read_tensor(entry.name, entry) for entry in graph.initializer}
    return Graph(
        size,
        max(versions, default=1),
        tuple(_node(number, node) for number, node in enumerate(graph.node)),
        tuple(_port(entry) for entry in graph.input if entry.name not in constants),
        tuple(_port(entry) for entry in graph.output),
        constants,
        f"{_text(model.producer_name):.80} {_text(model.producer_version):.80}".strip(),
        model,
    )


def _node(number: int, node: Any) -> Node:
    name = f"node {_text(node.name) or number!r} ({_text(node.op_type)})"[:200]
    if node.domain not in ("", "ai.onnx"):
        raise ValueError(f"{name}: expected an operator of ONNX itself, got {node.domain:.80}'s")
    attributes = {}
    for entry in node.attribute:
        values: dict[int, Callable[[Any], Any]] = {
            _FLOAT: lambda e: float(e.f),
            _INT: lambda e: int(e.i),
            _STRING: lambda e: e.s.decode("utf-8", "replace"),
            _TENSOR: lambda e: read_tensor(name, e.t),
            _FLOATS: lambda e: list(e.floats),
            _INTS: lambda e: list(e.ints),
        }
        if entry.type not in values:
            raise ValueError(f"{name}: {entry.name:.80}: expected numbers or text, got a subgraph")
        attributes[_text(entry.name)] = values[entry.type](entry)
    inputs, outputs = (tuple(map(_text, names)) for names in (node.input, node.output))
    return Node(node.op_type, name, inputs, outputs, attributes)


def _text(given: Any) -> str:
    """A name, which protobuf gives as bytes where it is no text."""
    if not isinstance(given, str):
        raise ValueError("graph: expected names in UTF-8")
    return given


def _port(entry: Any) -> Port:
    kind = entry.type.tensor_type
    if not entry.type.HasField("tensor_type") or kind.elem_type not in DTYPES:
        raise ValueError(f"{entry.name:.80}: expected a tensor of numbers")
    shape = tuple(
        int(axis.dim_value) if axis.HasField("dim_value") else None for axis in kind.shape.dim
    )
    if len(shape) > _MOST_AXES:
        raise ValueError(f"{entry.name:.80}: expected at most {_MOST_AXES} axes, got {len(shape)}")
    return Port(_text(entry.name), shape, DTYPES[kind.elem_type])


def read_tensor(name: str, tensor: Any) -> NDArray[Any]:
    """The numbers of a tensor, as many as its shape says and no more than it holds.

    Args:
        name: what messages call it.
        tensor: an `onnx.TensorProto`.

    Raises:
        ValueError: numbers that lie elsewhere or are missing, or an unknown type.
    """
    name = f"tensor {name!s:.80}"
    if tensor.data_location or len(tensor.external_data):
        raise ValueError(
            f"{name}: expected its numbers in the file itself, got external data; save the model "
            f"in one file, such as with torch.onnx.export(..., external_data=False)"
        )
    if tensor.data_type not in DTYPES:
        raise ValueError(f"{name}: expected a type of {', '.join(DTYPES.values())}")
    shape = tuple(int(n) for n in tensor.dims)
    count = 1
    for axis in shape:
        count *= axis
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0:
        raise ValueError(f"{name}: expected at most {_MOST_AXES} axes, none negative")
    dtype = np.dtype(DTYPES[tensor.data_type])
    if tensor.raw_data:
        flat: NDArray[Any] = np.frombuffer(
            tensor.raw_data,
            dtype.newbyteorder("<"),
            count=min(count, len(tensor.raw_data) // dtype.itemsize),
        )
        exact = len(tensor.raw_data) == count * dtype.itemsize
    else:
        values = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
        exact = len(values) == count
        whole = np.asarray(values, np.uint16 if dtype == np.float16 and exact else None)
        flat = whole.view(np.float16) if dtype == np.float16 and exact else whole
    if not exact:
        raise ValueError(f"{name}: expected {count} numbers, got another count")
    return np.array(flat, dtype).reshape(shape)
