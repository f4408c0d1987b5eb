"""Rules of torch's functions on images: convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparseagent.convert.features import Features
from sparseagent.convert.torch_rules import Scope, computed, rule, weights
from sparseagent.ops.window import Window
from sparseagent.unsupported import UnsupportedError


@rule("conv2d", "conv1d")
def _conv(
    at: Scope,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Features:
    kernel = weights("weight", weight)
    image = computed(x)
    axes = kernel.ndim - 2
    if groups != 1:
        raise UnsupportedError(f"conv{axes}d: expected one group, got {groups}")
    if isinstance(padding, str):
        if padding != "valid":
            raise UnsupportedError(f"conv{axes}d: expected padding in numbers, got {padding!r}")
        padding = 0
    sides = (stride, padding, dilation)
    added = None if bias is None else weights("bias", bias)
    window = _window(image, kernel.shape[2:], *sides)
    return _shaped(image.conv2d(window, kernel, added, at.key(weight)), axes)


@rule("max_pool2d", "max_pool1d", "max_pool2d_with_indices", "boolean_dispatch")
def _max_pool(
    at: Scope,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Features:
    image = computed(x)
    axes = len(image.shape) - 1
    if ceil_mode or return_indices:
        raise UnsupportedError("max_pool: expected neither ceil_mode nor return_indices")
    size = _each(kernel_size, axes)
    step = size if stride is None or stride == [] else stride
    window = _window(image, size, step, padding, dilation)
    return _shaped(image.max_pool(window), axes)


@rule("adaptive_avg_pool2d", "adaptive_avg_pool1d")
def _adaptive_mean(at: Scope, x: Any, output_size: Any) -> Features:
    image = computed(x)
    axes = len(image.shape) - 1
    if any(size != 1 for size in _each(output_size, axes)):
        raise UnsupportedError("adaptive_avg_pool: expected the mean over the whole image")
    mean = image.builder.reduce("mean", image.value, image.shape[0])
    return Features(image.builder, mean, (image.shape[0], *(1,) * axes))


def _each(given: Any, axes: int) -> tuple[int, ...]:
    numbers = tuple(given) if isinstance(given, Sequence) else (given,) * axes
    whole = tuple(int(n) for n in (numbers * axes if len(numbers) == 1 else numbers))
    if len(whole) != axes:
        raise UnsupportedError(f"expected {axes} numbers, got {numbers}")
    return whole


def _window(image: Features, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Window:
    """A sequence is an image of height 1."""
    axes = len(image.shape) - 1
    if axes not in (1, 2):
        raise UnsupportedError(
            f"expected an image [B, channels, height, width] or a sequence, got "
            f"{list(image.full_shape)}"
        )
    one = (1,) * (2 - axes)
    pads = (*(0,) * (2 - axes), *_each(padding, axes))
    size = (*one, *_each(kernel, axes))
    return Window(
        (image.shape[0], *one, *image.shape[1:]),  # type: ignore[arg-type]
        size,  # type: ignore[arg-type]
        (*one, *_each(stride, axes)),  # type: ignore[arg-type]
        (*pads, *pads),  # type: ignore[arg-type]
        (*one, *_each(dilation, axes)),  # type: ignore[arg-type]
    )


def _shaped(x: Features, axes: int) -> Features:
    return x if axes == 2 else Features(x.builder, x.value, (x.shape[0], *x.shape[2:]))
