"""Collects linear maps and activations into layers: the part of conversion without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseagent.convert.masks import Masks, structured
from sparseagent.csr import CSR, Float32
from sparseagent.ops import Layer

#: Bounds up to this size are narrow: roundings of such numbers are below a millionth.
_NARROW = 8.0
#: Entries of all matrices that are made for activations alone, 256 MiB dense: they grow with the
#: square of a layer's width, which costs a file a few bytes.
_MOST_MADE = 1 << 26


@dataclass
class _Draft:
    """A layer whose activation may still follow; None means that none has been seen yet."""

    path: str
    weight: Float32
    bias: Float32
    key: str | None = None
    activation: str | None = None
    alpha: float = 0.0


@dataclass(frozen=True)
class _Waiting:
    """An operation seen before the first linear map, when the width is not known yet."""

    path: str
    name: str
    alpha: float


class Chain:
    """Builds the layers of a feed-forward net from its parts, in the order in which they act.

    A policy layer is one matrix with one activation. What does not pair up that way is written
    with identity matrices, one weight per row, which reproduce their input exactly: an activation
    before the first linear map and two activations in a row. The bounds of `clamp` take two layers
    more.

    Args:
        masks: which weights exist, by their keys; None for those that are not zero.
    """

    def __init__(self, masks: Masks | None = None) -> None:
        self._masks = masks
        self._drafts: list[_Draft] = []
        self._waiting: list[_Waiting] = []
        self._made = 0

    def linear(self, path: str, weight: Float32, bias: Float32 | None, key: str) -> None:
        """Add `y = W x + b`.

        Args:
            path: how messages name this part, such as `"module '2' (Linear)"`.
            key: name of the weight among the masks, such as `"2.weight"`.
            weight: `[out, in]`.
            bias: `[out]`, or None for zeros.

        Raises:
            ValueError: a number is not finite, or the width does not follow from the part before.
        """
        drafted_bias = np.zeros(len(weight), np.float32) if bias is None else bias
        for name, array in (("weight", weight), ("bias", drafted_bias)):
            _check_finite(path, name, array)
        width = weight.shape[1]
        if self._drafts and len(self._drafts[-1].bias) != width:
            before = self._drafts[-1]
            raise ValueError(
                f"{path}: expected {len(before.bias)} inputs, as {before.path} gives, got {width}"
            )
        for waiting in self._waiting:
            self._per_feature(waiting.path, width, name=waiting.name, alpha=waiting.alpha)
        self._waiting = []
        self._drafts.append(_Draft(path, weight, drafted_bias, key))

    def activation(self, path: str, name: str, alpha: float = 0.0) -> None:
        """Apply the activation `name` of `sparseagent.policy.ACTIVATIONS` to what came before."""
        if not self._drafts:
            self._waiting.append(_Waiting(path, name, alpha))
        elif self._drafts[-1].activation is None:
            self._drafts[-1].activation, self._drafts[-1].alpha = name, alpha
        else:
            self._per_feature(path, len(self._drafts[-1].bias), name=name, alpha=alpha)

    def clamp(self, path: str, low: float, high: float) -> None:
        """Bound what came before to `[low, high]`, both rounded to float32.

        Narrow bounds: `high - relu((high - low) - relu(y - low))`, one row per feature. `high`
        comes out exactly, as does `low` where `high - low` is a float32 (-1 and 1, 0 and 6); the
        rest is off by a few roundings of numbers as large as `high - low`.

        Wide bounds, where those would be too much: `relu(y) - relu(-y) - relu(y - high) +
        relu(low - y)`, four rows per feature. What lies within the bounds comes out exactly, and
        what lies beyond is off by a rounding or two of a number as large as `y`; Inf becomes NaN.

        Raises:
            ValueError: nothing linear came before, or the bounds are not finite and rising.
        """
        with np.errstate(over="ignore"):
            low, high = np.array([low, high], np.float32).tolist()
        if not np.isfinite([low, high]).all() or not low < high:
            raise ValueError(
                f"{path}: expected finite float32 bounds, low < high, got {low} and {high}"
            )
        if not self._drafts:
            raise ValueError(f"{path}: expected a Linear before it, got none")
        width = len(self._drafts[-1].bias)
        if max(-low, high) > _NARROW:
            rows, biases = ((1.0,), (-1.0,), (1.0,), (-1.0,)), (0.0, 0.0, -high, low)
            self._per_feature(path, width, rows, biases, name="relu")
            self._per_feature(path, width, ((1.0, -1.0, -1.0, 1.0),))
            return
        if self._drafts[-1].activation is not None:
            self._per_feature(path, width)
        last = self._drafts[-1]
        last.bias = (last.bias.astype(np.float64) - low).astype(np.float32)
        last.activation = "relu"
        self._per_feature(path, width, ((-1.0,),), (high - low,), name="relu")
        self._per_feature(path, width, ((-1.0,),), (high,))

    def layers(self) -> tuple[Layer, ...]:
        """The layers; a matrix without any zero is stored dense, every other one as CSR.

        With masks it is the mask that counts: the structure of equal masks is equal.

        Raises:
            ValueError: no linear map was added, none of them has a mask though masks were given, or
                a mask does not fit its weight.
        """
        if not self._drafts:
            raise ValueError("module: expected at least one Linear, got none")
        keys = [draft.key for draft in self._drafts if draft.key is not None]
        if self._masks is not None and not any(key in self._masks for key in keys):
            raise ValueError(
                f"masks: expected one for at least one of {keys}, got {sorted(self._masks)}"
            )
        return tuple(
            Layer(self._stored(draft), draft.bias, draft.activation or "identity", draft.alpha)
            for draft in self._drafts
        )

    def _stored(self, draft: _Draft) -> CSR | Float32:
        if self._masks is None or draft.key is None:
            return stored(draft.weight)
        return structured(draft.key, draft.weight, self._masks.get(draft.key))

    def _per_feature(
        self,
        path: str,
        width: int,
        rows: Sequence[Sequence[float]] = ((1.0,),),
        biases: Sequence[float] = (0.0,),
        *,
        name: str | None = None,
        alpha: float = 0.0,
    ) -> None:
        """Add one small map, `rows` and `biases`, for every feature; by default `y = x`."""
        self._made += width * width * len(rows) * len(rows[0])
        if self._made > _MOST_MADE:
            raise ValueError(
                f"{path}: expected a layer of at most some 4,000 features under what takes an "
                f"identity matrix (Hardtanh, ReLU6, activations in a row), got {width:,}"
            )
        matrix: Any = np.kron(np.eye(width, dtype=np.float32), np.array(rows, np.float32))
        bias = np.tile(np.array(biases, np.float32), width)
        self._drafts.append(_Draft(path, matrix, bias, None, name, alpha))


def stored(weight: Float32) -> CSR | Float32:
    """`weight` `[out, in]` in the form that a layer keeps: dense without any zero, else CSR."""
    return weight if weight.all() else CSR.from_dense(weight)


def _check_finite(path: str, name: str, array: Float32) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {name}: expected finite numbers, got Inf or NaN")
