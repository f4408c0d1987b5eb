"""Random masks of every shape that is timed, in NumPy: which weights of a layer remain.

The masks of the package's own pruning come from trained scores; these have no scores, only the
same shapes of zeros. `count` is exact for `random`; the other patterns keep whole blocks or a fixed
number per group, and are as near to it as those allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Shape = tuple[int, int]

#: Inputs of a group of the lane-balanced pattern.
GROUP = 32
#: Share of hidden neurons of an ERK net that have no inputs, and that nobody reads.
DEAD_SHARE = 0.05


@dataclass(frozen=True)
class Pattern:
    """One shape of zeros.

    Attributes:
        label: for tables and figures.
        allocate: `(shapes, sparsity)` -> weights to keep per layer.
        mask: `(rng, shape, count)` -> bool `[out, in]`, True = kept.
        dead: whether some hidden neurons lose all inputs or all readers.
    """

    label: str
    allocate: Callable[[Sequence[Shape], float], list[int]]
    mask: Callable[[np.random.Generator, Shape, int], Bools]
    dead: bool = False


def uniform(shapes: Sequence[Shape], sparsity: float) -> list[int]:
    """The same sparsity in every layer, first and last included."""
    return [round((1.0 - sparsity) * out * width) for out, width in shapes]


def erk(shapes: Sequence[Shape], sparsity: float) -> list[int]:
    """Density in proportion to (in + out) / (in * out), at most 1: small layers stay denser.

    Source: Evci et al., "Rigging the Lottery", 2020, after Mocanu et al., 2018.
    """
    sizes = [out * width for out, width in shapes]
    total = round((1.0 - sparsity) * sum(sizes))
    counts = [0] * len(shapes)
    free = list(range(len(shapes)))
    while free:
        left = total - sum(counts)
        unit = left / sum(sum(shapes[i]) for i in free)
        full = [i for i in free if unit * sum(shapes[i]) >= sizes[i]]
        if not full:
            ends = np.round(np.cumsum([unit * sum(shapes[i]) for i in free])).astype(int)
            for i, count in zip(free, np.diff(ends, prepend=0), strict=True):
                counts[i] = int(count)
            break
        for i in full:
            counts[i] = sizes[i]
            free.remove(i)
    return counts


def unstructured(rng: np.random.Generator, shape: Shape, count: int) -> Bools:
    """`count` weights, each as likely as the others."""
    out, width = shape
    mask = np.zeros(out * width, np.bool_)
    mask[rng.choice(out * width, count, replace=False)] = True
    return mask.reshape(shape)


def blocks(rows: int) -> Callable[[np.random.Generator, Shape, int], Bools]:
    """Masks of blocks of `rows` neighbouring outputs of one input; the last ones may be smaller."""

    def mask(rng: np.random.Generator, shape: Shape, count: int) -> Bools:
        out, width = shape
        whole = out // rows
        parts = [(rows, whole)] if whole else []
        parts += [(out % rows, 1)] if out % rows else []
        built = []
        for height, groups in parts:
            share = round(count / (out * width) * groups * width)
            kept = unstructured(rng, (groups, width), max(1, share))
            built.append(np.repeat(kept, height, axis=0))
        return np.concatenate(built)

    return mask


def lane_balanced(rng: np.random.Generator, shape: Shape, count: int) -> Bools:
    """Equally many of every 32 consecutive inputs of a row: the number nearest to `count`.

    A last group of w < 32 inputs keeps `max(1, floor(n * w / 32))`, like the package's pattern.
    """
    out, width = shape
    n = max(1, round(GROUP * count / (out * width)))
    built = []
    for start in range(0, width, GROUP):
        size = min(GROUP, width - start)
        kept = n if size == GROUP else max(1, n * size // GROUP)
        built.append(rng.random((out, size)).argsort(axis=1) < kept)
    return np.concatenate(built, axis=1)


def uneven(rng: np.random.Generator, shape: Shape, count: int) -> Bools:
    """`count` weights of rows and columns that are unlike, as training leaves them.

    Every row and column has a log-normal weight, and entries are drawn without replacement in
    proportion to their product (Efraimidis & Spirakis, 2006): many rows are short, a few long.
    """
    out, width = shape
    weights = np.exp(0.7 * rng.standard_normal(out))[:, None]
    weights = weights * np.exp(0.7 * rng.standard_normal(width))
    keys = (rng.standard_exponential(shape) / weights).ravel()
    mask = np.zeros(out * width, np.bool_)
    mask[np.argsort(keys, kind="stable")[:count]] = True
    return mask.reshape(shape)


#: Patterns by the name that stands in the rows' `source`.
PATTERNS: Mapping[str, Pattern] = {
    "random": Pattern("unstructured", uniform, unstructured),
    "block16x1": Pattern("blocks 16x1", uniform, blocks(16)),
    "block4x1": Pattern("blocks 4x1", uniform, blocks(4)),
    "lanes": Pattern("lane-balanced", uniform, lane_balanced),
    "erk": Pattern("ERK, uneven rows, dead neurons", erk, uneven, dead=True),
}


def masks(
    rng: np.random.Generator, shapes: Sequence[Shape], sparsity: float, pattern: str
) -> list[Bools]:
    """One mask `[out, in]` per layer.

    Raises:
        ValueError: `sparsity`, a fraction in [0, 1), leaves a layer without weights, or `pattern`
            is unknown.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, got {pattern!r}")
    chosen = PATTERNS[pattern]
    counts = chosen.allocate(shapes, sparsity)
    for shape, count in zip(shapes, counts, strict=True):
        if count < 1:
            raise ValueError(f"sparsity: {sparsity} leaves no weight in a layer {shape}")
    built = [chosen.mask(rng, shape, count) for shape, count in zip(shapes, counts, strict=True)]
    return _with_dead_neurons(rng, built) if chosen.dead and sparsity > 0 else built


def _with_dead_neurons(rng: np.random.Generator, built: list[Bools]) -> list[Bools]:
    """Some hidden neurons lose their inputs, others their readers; the weights move elsewhere."""
    result = [mask.copy() for mask in built]
    for before, after in pairwise(result):
        size = before.shape[0]
        order = rng.permutation(size)
        count = round(DEAD_SHARE * size)
        for mask, places in ((before, order[:count]), (after.T, order[count : 2 * count])):
            lost = int(mask[places].sum())
            # Neither the neurons that die here nor those that are dead already get new weights.
            living = ~mask & mask.any(axis=0) & mask.any(axis=1, keepdims=True)
            living[places] = False
            room = np.argwhere(living)
            if lost == 0 or len(room) < lost:  # a layer that stays dense keeps its neurons
                continue
            mask[places] = False
            chosen = room[rng.choice(len(room), lost, replace=False)]
            mask[chosen[:, 0], chosen[:, 1]] = True
    return result
