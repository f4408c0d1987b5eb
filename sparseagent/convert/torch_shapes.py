"""Rules of torch's functions that only choose and move features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sparseagent.convert.features import Features, chunk_sizes, concat, stack
from sparseagent.convert.torch_rules import Scope, constant, rule
from sparseagent.unsupported import UnsupportedError


@rule("dropout", "alpha_dropout", "feature_alpha_dropout", "feature_dropout")
def _dropout(at: Scope, x: Features, p: float = 0.5, *rest: Any, **given: Any) -> Features:
    if (rest[0] if rest else given.get("training", True)) and p > 0:
        raise UnsupportedError("dropout: expected training=self.training, got one that always acts")
    return x


@rule(
    *("identity", "contiguous", "clone", "detach", "alias", "lift_fresh_copy", "requires_grad"),
    *("float", "cpu", "cuda", "to", "type_as", "_to_copy", "positive"),
)
def _same(at: Scope, x: Features, *rest: Any, **given: Any) -> Features:
    for option in (*rest, *given.values()):
        if isinstance(option, torch.dtype) and option != torch.float32:
            raise UnsupportedError(f"cast: expected float32, got {option}")
    return x


@rule("flatten")
def _flatten(at: Scope, x: Features, start_dim: int = 0, end_dim: int = -1) -> Features:
    count = len(x.shape) + 1
    start, end = start_dim % count, end_dim % count
    sizes = x.full_shape
    if start == end:
        return x
    if start == 0:
        raise ValueError(f"expected start_dim 1, so that the batch stays an axis, got {start_dim}")
    return x.reshape((*sizes[:start], math.prod(sizes[start : end + 1]), *sizes[end + 1 :]))


@rule("unflatten")
def _unflatten(at: Scope, x: Features, dim: int, sizes: Sequence[int]) -> Features:
    row = x.axis(dim) + 1
    return x.reshape((*x.full_shape[:row], *sizes, *x.full_shape[row + 1 :]))


@rule("view", "reshape", "_unsafe_view")
def _reshape(at: Scope, x: Features, *shape: Any, **given: Any) -> Features:
    return x.reshape(_wholes(shape or tuple(given.values())))


@rule("squeeze")
def _squeeze(at: Scope, x: Features, dim: Any = None) -> Features:
    return x.squeeze(None if dim is None else [dim] if isinstance(dim, int) else list(dim))


@rule("unsqueeze")
def _unsqueeze(at: Scope, x: Features, dim: int) -> Features:
    return x.unsqueeze([dim])


@rule("permute")
def _permute(at: Scope, x: Features, *dims: Any) -> Features:
    return x.permute(_wholes(dims))


@rule("transpose", "swapaxes", "swapdims")
def _transpose(at: Scope, x: Features, dim0: int, dim1: int) -> Features:
    axes = list(range(len(x.shape) + 1))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return x.permute(axes)


@rule("t")
def _t(at: Scope, x: Features) -> Features:
    raise UnsupportedError("t: expected the batch to stay the first axis")


@rule("expand", "broadcast_to")
def _expand(at: Scope, x: Features, *sizes: Any, **given: Any) -> Features:
    shape = _wholes(sizes)[1:]
    offset = len(shape) - len(x.shape)
    return x.expand([x.shape[i - offset] if n == -1 else n for i, n in enumerate(shape)])


@rule("expand_as")
def _expand_as(at: Scope, x: Features, other: Features) -> Features:
    return x.expand(other.shape)


@rule("repeat", "tile")
def _repeat(at: Scope, x: Features, *times: Any) -> Features:
    counts = _wholes(times)
    if len(counts) != len(x.shape) + 1 or counts[0] != 1:
        raise UnsupportedError(f"repeat: expected 1 for the batch, got {counts}")
    return x.index(np.tile(x.numbers(), counts[1:]))


@rule("cat", "concat", "concatenate")
def _cat(at: Scope, tensors: Sequence[Any], dim: int = 0, axis: int | None = None) -> Features:
    return concat(_parts(tensors), dim if axis is None else axis)


@rule("hstack")
def _hstack(at: Scope, tensors: Sequence[Any]) -> Features:
    return concat(_parts(tensors), 1)


@rule("stack")
def _stack(at: Scope, tensors: Sequence[Any], dim: int = 0) -> Features:
    return stack(_parts(tensors), dim)


def _parts(tensors: Sequence[Any]) -> list[Features]:
    """Tensors to be joined; constants become features too."""
    computed = next(part for part in tensors if isinstance(part, Features))
    return [computed.constant(constant("cat", part)) for part in tensors]


@rule("chunk")
def _chunk(at: Scope, x: Features, chunks: int, dim: int = 0) -> list[Features]:
    return x.chunk(chunks, dim)


@rule("split", "split_with_sizes")
def _split(at: Scope, x: Features, sizes: Any, dim: int = 0) -> list[Features]:
    if isinstance(sizes, int):
        sizes = chunk_sizes(x.shape[x.axis(dim)], sizes)
    return x.split(list(sizes), dim)


@rule("unbind")
def _unbind(at: Scope, x: Features, dim: int = 0) -> list[Features]:
    return [x.select(dim, place) for place in range(x.shape[x.axis(dim)])]


@rule("narrow")
def _narrow(at: Scope, x: Features, dim: int, start: int, length: int) -> Features:
    return x.narrow(dim, start, start + length)


@rule("slice")
def _slice(
    at: Scope, x: Features, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Features:
    return x.narrow(dim, start or 0, end, step)


@rule("select")
def _select(at: Scope, x: Features, dim: int, index: int) -> Features:
    return x.select(dim, index)


@rule("index_select")
def _index_select(at: Scope, x: Features, dim: int, index: Any) -> Features:
    return x.index(np.take(x.numbers(), constant("index", index), axis=x.axis(dim)))


@rule("getitem")
def _getitem(at: Scope, x: Features, places: Any) -> Features:
    parts = places if isinstance(places, tuple) else (places,)
    if parts and parts[0] is Ellipsis:
        parts = (slice(None), *parts)
    first, *rest = parts
    if first != slice(None):
        raise UnsupportedError("index: expected the whole batch (x[:, ...]), got a part of it")
    chosen = [part.cpu().numpy() if isinstance(part, torch.Tensor) else part for part in rest]
    try:
        return x.index(np.asarray(x.numbers()[tuple(chosen)]))
    except IndexError as error:
        raise ValueError(f"index: {error}") from error


def _wholes(given: tuple[Any, ...]) -> list[int]:
    """Numbers that may come one by one or as one sequence."""
    sequence = given[0] if len(given) == 1 and isinstance(given[0], Sequence) else given
    return [int(n) for n in sequence]
