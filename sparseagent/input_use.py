"""Which features of an observation a program reads, and with how much weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseagent.csr import CSR, Float64
from sparseagent.ops import Layer, Linear, Observe
from sparseagent.ops.conv2d import Conv2d
from sparseagent.program import Program, Span

__all__ = ["InputUse", "input_use"]


@dataclass(frozen=True, eq=False)
class InputUse:
    """How one input of a program is used, feature by feature of an observation.

    Attributes:
        weights: how many weights that are not zero read a feature, int64 `[in]`; those of a
            convolution count at every place where they meet it, and another op than a layer that
            reads it, such as a norm, counts as one.
        norm: root of the sum of their squares, float64 `[in]`; NaN where another op reads it, which
            has no weights to go by.
    """

    weights: NDArray[np.int64]
    norm: Float64

    @property
    def unused(self) -> tuple[int, ...]:
        """The features that nothing reads: sensors that can be left out."""
        return tuple(int(place) for place in np.flatnonzero(self.weights == 0))

    @property
    def share(self) -> Float64:
        """What each feature has of the sum of all squared weights, `[in]`; NaN as in `norm`."""
        energy = self.norm**2
        total = np.nansum(energy)
        return energy / total if total > 0 else energy


def input_use(program: Program) -> Mapping[str, InputUse]:
    """How each input is used, by its name.

    A feature may pass `map` steps, which treat every feature by itself, before something reads it.
    What a weight stands for depends on the scale of its feature: amounts can be compared where
    observations are normalised.

    Args:
        program: any program. Hidden neurons without effect count as readers; conversion has
            removed them.
    """
    sizes = {op.input: op.step.width for op in program.ops if isinstance(op, Observe)}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    count = sum(sizes.values())
    weights, energy = np.zeros(count, np.int64), np.zeros(count)
    # Per slot the input feature that a feature still is, or -1.
    origin = {slot: np.full(size, -1) for slot, size in program.slots.items()}

    def places(spans: tuple[Span, ...]) -> NDArray[np.int64]:
        return np.concatenate([origin[s.slot][s.start : s.stop] for s in spans])

    for op in program.ops:
        if isinstance(op, Observe):
            (span,) = op.writes
            first = starts[op.input]
            taken = op.step.columns
            origin[span.slot][span.start : span.stop] = first + (
                np.arange(span.size) if taken is None else taken
            )
            continue
        read = places(op.reads)
        if op.kind == "map":
            (span,) = op.writes
            origin[span.slot][span.start : span.stop] = read
            continue
        still = read >= 0
        if isinstance(op, Linear):
            numbers, squares = _columns(op.layer)
        elif isinstance(op, Conv2d):
            numbers, squares = _pixels(op)
        else:
            numbers, squares = np.ones(len(read), np.int64), np.full(len(read), np.nan)
        np.add.at(weights, read[still], numbers[still])
        np.add.at(energy, read[still], squares[still])
    for span in program.outputs.values():  # what leaves the program as it came
        passed = places((span,))
        np.add.at(weights, passed[passed >= 0], 1)
        np.add.at(energy, passed[passed >= 0], np.nan)
    ends = {name: slice(first, first + sizes[name]) for name, first in starts.items()}
    return {name: InputUse(weights[where], np.sqrt(energy[where])) for name, where in ends.items()}


def _pixels(op: Conv2d) -> tuple[NDArray[np.int64], Float64]:
    """Per pixel, the number of weights that meet it and the sum of squares, place by place."""
    window, count = op.window, op.in_size
    numbers, squares = (np.repeat(of_tap, window.pixels) for of_tap in _columns(op.layer))
    places = np.arange(1.0, count + 1)[None]  # 0 is outside of the image
    met = window.patches(places, 0.0).astype(np.int64).ravel()
    weights, energy = np.zeros(count + 1, np.int64), np.zeros(count + 1)
    np.add.at(weights, met, numbers)
    np.add.at(energy, met, squares)
    return weights[1:], energy[1:]


def _columns(layer: Layer) -> tuple[NDArray[np.int64], Float64]:
    """Per column of a layer, the number of weights that are not zero and the sum of squares."""
    width = layer.shape[1]
    if isinstance(layer.weight, CSR):
        columns, values = layer.weight.indices, layer.weight.values.astype(np.float64)
    else:
        columns = np.tile(np.arange(width), layer.shape[0])
        values = layer.weight.ravel().astype(np.float64)
    used: NDArray[np.int64] = np.bincount(columns[values != 0], minlength=width)
    squares = np.zeros(width)
    np.add.at(squares, columns, values**2)
    return used, squares
