"""conv2d: a layer whose rows slide over an image; absent taps are never touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparseagent.csr import CSR, Float32, Float64
from sparseagent.ops.activation import activate, activation_bound
from sparseagent.ops.linear import LayerOp
from sparseagent.ops.window import Window
from sparseagent.program import Attributes, Span, Tensors


@dataclass(frozen=True, eq=False)
class Conv2d(LayerOp):
    """A convolution: `[channels, height, width]` -> `[out, output height, output width]`.

    Row `o` of the matrix, `[out, channels * kernel height * kernel width]`, is torch's weight of
    output channel `o`, flattened; its chain runs over the taps in their stored order, and a tap
    outside the image is absent. What is written has torch's order, so that flattening is free.

    Attributes:
        layer: matrix, bias and activation; one run per row.
        window: the image and how the kernel slides over it.
    """

    kind: ClassVar[str] = "conv2d"

    window: Window

    def check(self) -> None:
        out, taps = self.layer.shape
        window = self.window
        if isinstance(self.layer.weight, CSR) and self.layer.weight.runs != 1:
            raise ValueError(f"runs: expected 1, got {self.layer.weight.runs}")
        if taps != window.taps:
            raise ValueError(f"shape: expected {window.taps} columns, one for each tap, got {taps}")
        outputs = out * window.pixels
        if len(self.writes) != 1 or self.in_size != window.in_size or self.out_size != outputs:
            raise ValueError(
                f"expected {window.in_size} inputs and one span of {outputs} outputs, got "
                f"{self.in_size} and {self.out_size} in {len(self.writes)} spans"
            )

    @property
    def work(self) -> int:
        return self.layer.nnz * self.window.pixels

    def attributes(self) -> Attributes:
        return {**super().attributes(), **self.window.attributes()}

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Conv2d:
        layer = cls.read_layer(attributes, tensors)
        return cls(reads, writes, layer, Window.read(attributes))

    def float64(self, *x: Float64) -> Float64:
        layer = self.layer
        total = self._sums(layer.dense_weight(), x) + layer.bias[:, None]
        return self._flat(activate(layer.activation, layer.alpha, total))

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        """As that of a linear layer, at every place where the kernel stands."""
        layer = self.layer
        weight = layer.dense_weight().astype(np.float64)
        terms = (np.count_nonzero(weight, axis=1) + 1)[:, None]
        gamma = terms * 2.0**-24 / (1 - terms * 2.0**-24)
        off = self._sums(np.abs(weight), error)
        size = self._sums(np.abs(weight), tuple(np.abs(part) for part in x))
        size = size + off + np.abs(layer.bias)[:, None]
        total = self._sums(weight, x) + layer.bias[:, None]
        carried = off + gamma * size + terms * 2.0**-149
        return self._flat(activation_bound(layer.activation, layer.alpha, total, carried))

    def _sums(self, weight: Float32 | Float64, x: tuple[Float64, ...]) -> Float64:
        """`[B, out, pixels]`, without the bias."""
        patches = self.window.patches(np.concatenate(x, axis=1), 0.0)
        flat = patches.reshape(len(patches), self.window.taps, self.window.pixels)
        return weight.astype(np.float64) @ flat

    def _flat(self, y: Float64) -> Float64:
        return y.reshape(len(y), self.out_size)
