"""Window: what a convolution or a pool slides over an image, and where."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sparseagent import fields as spec_fields
from sparseagent.csr import MAX_WIDTH, Float64
from sparseagent.program import Attributes

_PAIRS = ("kernel", "stride", "dilation")


@dataclass(frozen=True)
class Window:
    """An image and a kernel that slides over it. Sequences are images of height 1.

    Attributes:
        image: `(channels, height, width)`.
        kernel: `(height, width)`.
        stride: `(down, across)`, how far the kernel moves, each at least 1.
        padding: `(top, left, bottom, right)`, less than what the dilated kernel spans: taps there
            are outside the image, and absent.
        dilation: `(down, across)`, the distance of neighbouring taps, each at least 1.
        channels_last: the image's features come as `[height, width, channels]`, as environments
            hand frames out, and not as `[channels, height, width]`. What a window gives has its
            channels first.

    Raises:
        ValueError: a number is out of range, or the kernel does not fit into the padded image.
    """

    image: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    channels_last: bool = False

    def __post_init__(self) -> None:
        for name, count in (("image", 3), *((pair, 2) for pair in _PAIRS)):
            numbers = tuple(int(n) for n in getattr(self, name))
            if len(numbers) != count or not all(1 <= n <= MAX_WIDTH for n in numbers):
                raise ValueError(
                    f"{name}: expected {count} numbers in [1, {MAX_WIDTH}], got {numbers}"
                )
            object.__setattr__(self, name, numbers)
        padding = tuple(int(n) for n in self.padding)
        object.__setattr__(self, "padding", padding)
        if len(padding) != 4 or not all(
            0 <= pad < span for pad, span in zip(padding, self._spans * 2, strict=False)
        ):
            raise ValueError(
                f"padding: expected 4 numbers from 0 to below the kernel's span "
                f"{self._spans}, got {padding}"
            )
        if self.padded_size > MAX_WIDTH or self.taps > MAX_WIDTH:
            raise ValueError(
                f"image: expected at most {MAX_WIDTH} features with padding, and taps, got "
                f"{self.padded_size} and {self.taps}"
            )
        if min(self.output) < 1:
            raise ValueError(
                f"kernel: expected one that fits into the padded image, got a span of "
                f"{self._spans} for {self.image[1:]} and padding {padding}"
            )

    @property
    def _spans(self) -> tuple[int, int]:
        """What the dilated kernel covers, `(height, width)`."""
        down, across = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        return down, across

    @property
    def padded_size(self) -> int:
        """Features of the image with its padding."""
        channels, height, width = self.image
        top, left, bottom, right = self.padding
        return channels * (height + top + bottom) * (width + left + right)

    @property
    def in_size(self) -> int:
        """Features of the image."""
        channels, height, width = self.image
        return channels * height * width

    @property
    def taps(self) -> int:
        """Taps over all channels: the columns of a convolution's matrix."""
        return self.image[0] * self.kernel[0] * self.kernel[1]

    @property
    def output(self) -> tuple[int, int]:
        """`(height, width)` of what the window gives for each channel."""
        top, left, bottom, right = self.padding
        height = (self.image[1] + top + bottom - self._spans[0]) // self.stride[0] + 1
        width = (self.image[2] + left + right - self._spans[1]) // self.stride[1] + 1
        return height, width

    @property
    def pixels(self) -> int:
        """Places at which the kernel stands."""
        return self.output[0] * self.output[1]

    def patches(self, x: Float64, outside: float) -> Float64:
        """`[B, in_size]` -> `[B, channels, kernel height, kernel width, pixels]`."""
        channels, height, width = self.image
        if self.channels_last:
            image = np.moveaxis(x.reshape(-1, height, width, channels), 3, 1)
        else:
            image = x.reshape(-1, channels, height, width)
        top, left, bottom, right = self.padding
        around = ((0, 0), (0, 0), (top, bottom), (left, right))
        image = np.pad(image, around, constant_values=outside)
        rows, columns = (
            np.arange(out)[None, :] * s + np.arange(k)[:, None] * d
            for out, s, k, d in zip(
                self.output, self.stride, self.kernel, self.dilation, strict=True
            )
        )
        patches: NDArray[np.float64] = image[:, :, rows[:, None, :, None], columns[None, :, None]]
        return patches.reshape(len(x), channels, *self.kernel, self.pixels)

    def attributes(self) -> Attributes:
        """What JSON holds of it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @classmethod
    def read(cls, attributes: Attributes) -> Window:
        """The window that `attributes()` describes."""
        image, kernel, stride, padding, dilation = (
            spec_fields.wholes(attributes, name)
            for name in ("image", "kernel", "stride", "padding", "dilation")
        )
        last = spec_fields.truth(attributes, "channels_last")
        # A count that is wrong is refused by the class, which says so.
        return cls(image, kernel, stride, padding, dilation, last)  # type: ignore[arg-type]
