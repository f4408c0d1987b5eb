"""conv2d and pool as C: plain loops over the taps of a window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseagent.csr import CSR
from sparseagent.export.writer import Writer
from sparseagent.ops.conv2d import Conv2d
from sparseagent.ops.pool import Pool
from sparseagent.ops.window import Window


def write_conv2d(writer: Writer, number: int, op: Conv2d) -> None:
    """The sums of every place, then the activation over all of them."""
    x, y = writer.together(number, op.reads), writer.at(op.writes[0])
    layer, weight = op.layer, op.layer.weight
    if not isinstance(weight, CSR):
        weight = CSR.from_dense(weight, np.ones(weight.shape, np.bool_))
    tables = [
        writer.table("window", _window(op.window)),
        writer.table("taps", _taps(op.window)),
        writer.table("lengths", np.diff(weight.indptr).astype(np.int32)),
        writer.table("bias", layer.bias),
        writer.table("weights", weight.values),
        writer.table("columns", weight.indices.astype(writer.index)),
    ]
    writer.line(f"sa_conv2d({weight.shape[0]}, {', '.join(tables)}, {x}, {y});")
    writer.activate(layer.activation, layer.alpha, op.out_size, y)


def write_pool(writer: Writer, number: int, op: Pool) -> None:
    """One call over all channels."""
    del number
    window, taps = writer.table("window", _window(op.window)), _taps(op.window)
    channels, count = op.window.image[0], op.window.kernel[0] * op.window.kernel[1]
    x, y = writer.at(op.reads[0]), writer.at(op.writes[0])
    writer.line(f"sa_pool({channels}, {window}, {count}, {writer.table('taps', taps)}, {x}, {y});")


def _window(window: Window) -> NDArray[np.int32]:
    """The numbers of `enum sa_window`."""
    channels, height, width = window.image
    steps = (width * channels, channels) if window.channels_last else (width, 1)
    numbers = (*window.output, height, width, *window.stride, *window.padding[:2], *steps)
    return np.array(numbers, np.int32)


def _taps(window: Window) -> NDArray[np.int32]:
    """`[taps, 3]`: the first feature of a tap's channel, and how far it is down and across."""
    channels, height, width = window.image
    channel, down, across = np.indices((channels, *window.kernel)).reshape(3, -1)
    first = channel if window.channels_last else channel * height * width
    parts = (first, down * window.dilation[0], across * window.dilation[1])
    return np.stack(parts, axis=1).astype(np.int32)
