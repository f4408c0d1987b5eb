"""pool: the largest number in every window of every channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparseagent.csr import Float64
from sparseagent.ops.window import Window
from sparseagent.program import Attributes, Op, Span, Tensors


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """Max pooling: `[channels, height, width]` -> `[channels, output height, output width]`.

    Taps in ascending order, `m = (tap > m or tap is NaN) ? tap : m`; a tap outside the image is
    -inf. The mean over an image is `Reduce("mean", groups=channels)`, other means are convolutions.

    Attributes:
        window: the image and how the window slides over it; what it gives has its channels first.
    """

    kind: ClassVar[str] = "pool"

    window: Window

    def check(self) -> None:
        window = self.window
        outputs = window.image[0] * window.pixels
        one = len(self.reads) == len(self.writes) == 1
        if not one or self.in_size != window.in_size or self.out_size != outputs:
            raise ValueError(
                f"expected one span of {window.in_size} inputs and one of {outputs} outputs, got "
                f"{self.in_size} in {len(self.reads)} and {self.out_size} in {len(self.writes)}"
            )

    @property
    def work(self) -> int:
        return self.window.taps * self.window.pixels

    def attributes(self) -> Attributes:
        return self.window.attributes()

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Pool:
        return cls(reads, writes, Window.read(attributes))

    def float64(self, *x: Float64) -> Float64:
        most = self.window.patches(x[0], -np.inf).max(axis=(2, 3))
        return np.asarray(most.reshape(len(most), self.out_size))

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        """The largest error among those that are compared."""
        most = self.window.patches(error[0], 0.0).max(axis=(2, 3))
        return np.asarray(most.reshape(len(most), self.out_size))
