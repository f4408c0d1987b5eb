"""Rules of ONNX's operators on images: convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparseagent.convert.features import Features
from sparseagent.convert.onnx_rules import At, _computed, _matrix, rule
from sparseagent.ops.window import Window
from sparseagent.unsupported import UnsupportedError


@rule("Conv")
def _conv(at: At, x: Any, weight: Any, bias: Any = None) -> Features:
    kernel = _matrix("W", weight)
    if at.get("group", 1) != 1:
        raise UnsupportedError(f"group: expected 1, got {at.get('group')}")
    image = _computed(x)
    window = _window(at, image, kernel.shape[2:])
    added = None if bias is None else _matrix("B", bias)
    return _shaped(image, image.conv2d(window, kernel, added, at.node.inputs[1]))


@rule("MaxPool")
def _max_pool(at: At, x: Any) -> Features:
    if len(at.node.outputs) > 1:
        raise UnsupportedError("MaxPool: expected no indices as a second output")
    image = _computed(x)
    return _shaped(image, image.max_pool(_window(at, image, at.get("kernel_shape"))))


@rule("GlobalAveragePool")
def _mean(at: At, x: Any) -> Features:
    image = _computed(x)
    return image.mean(range(2, len(image.full_shape)), keep=True)


def _window(at: At, image: Features, kernel: Sequence[int]) -> Window:
    """A sequence is an image of height 1."""
    axes = len(image.shape) - 1
    if axes not in (1, 2) or len(kernel) != axes:
        raise UnsupportedError(
            f"expected an image of one or two axes and a kernel of as many, got {image.shape} and "
            f"{tuple(kernel)}"
        )
    ones = [1] * axes
    stride = [int(n) for n in at.get("strides", ones)]
    dilation = [int(n) for n in at.get("dilations", ones)]
    spans = [d * (int(k) - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    begin, end = _pads(at, image.shape[1:], spans, stride)
    one, none = (1,) * (2 - axes), (0,) * (2 - axes)
    return Window(
        (image.shape[0], *one, *image.shape[1:]),  # type: ignore[arg-type]
        (*one, *kernel),  # type: ignore[arg-type]
        (*one, *stride),  # type: ignore[arg-type]
        (*none, *begin, *none, *end),  # type: ignore[arg-type]
        (*one, *dilation),  # type: ignore[arg-type]
    )


def _pads(
    at: At, image: Sequence[int], spans: Sequence[int], stride: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Before and behind the image along each axis, with what rounding up asks for."""
    axes, auto = len(image), at.get("auto_pad", "NOTSET")
    given = [int(n) for n in at.get("pads", [0] * 2 * axes)]
    begin, end = given[:axes], given[axes:]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis, (size, span, step) in enumerate(zip(image, spans, stride, strict=True)):
            whole = max(0, (-(-size // step) - 1) * step + span - size)
            less, more = whole // 2, whole - whole // 2
            begin[axis], end[axis] = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto not in ("NOTSET", "VALID"):
        raise UnsupportedError(f"auto_pad: unknown {auto!r}")
    if at.get("ceil_mode", 0):
        for axis, (size, span, step) in enumerate(zip(image, spans, stride, strict=True)):
            padded = begin[axis] + size + end[axis]
            last = -(-(padded - span) // step) * step  # where the last window would begin
            if last < begin[axis] + size:  # one that begins behind the image is left out
                end[axis] += max(0, last + span - padded)
    return begin, end


def _shaped(image: Features, x: Features) -> Features:
    if len(image.shape) == 3:
        return x
    return Features(x.builder, x.value, (x.shape[0], *x.shape[2:]))
