"""Observations for the self-test that a policy carries in its file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.ops import Observation

#: Bounds beyond this are taken for "no bound": environments write them for infinity.
_BOUNDED = 1e6


def golden_observations(
    observation: Observation,
    low: NDArray[Any] | None = None,
    high: NDArray[Any] | None = None,
    count: int = 8,
    seed: int = 0,
) -> NDArray[Any]:
    """Typical observations, the same at every call: `[count, *shape]` in the observation's dtype.

    Normal around the normaliser's mean where there is one, else uniform within the bounds, else
    normal; whole numbers for whole types, and categories that there are.

    Args:
        observation: the step that they will go through.
        low: lower bounds of the observation space, `[*shape]`, or None for unknown.
        high: upper bounds, same shape, or None.
        count: number of observations, at least 1.
        seed: of the draw; inputs of one policy differ in it.
    """
    random = np.random.default_rng(seed)
    dtype = np.dtype(observation.dtype)
    if observation.categories:
        drawn = random.integers(0, observation.categories, (count, len(observation.categories)))
        return drawn.reshape(count, *observation.shape).astype(dtype)
    shape = (count, observation.size)
    if dtype.kind in "iu" and low is None and high is None:
        limits = np.iinfo(dtype)
        low, high = (
            np.full(shape[1], max(limits.min, -100)),
            np.full(shape[1], min(limits.max, 255)),
        )
    values = (
        3 * random.standard_normal(shape) if dtype.kind in "iu" else random.standard_normal(shape)
    )
    bottom, top = _bounds(low, -np.inf, shape[1]), _bounds(high, np.inf, shape[1])
    if observation.shift is not None and observation.scale is not None:
        values = observation.shift + 1.5 * observation.scale * values
    else:
        bounded = (bottom > -_BOUNDED) & (top < _BOUNDED)
        start, stop = np.where(bounded, bottom, 0.0), np.where(bounded, top, 1.0)
        values = np.where(bounded, random.uniform(start, stop, shape), values)
    values = np.clip(values, bottom, top).reshape(count, *observation.shape)
    if dtype.kind == "b":
        return values > 0.5
    with np.errstate(over="ignore"):  # statistics may lie beyond float32
        return (np.rint(values) if dtype.kind in "iu" else values).astype(dtype)


def _bounds(given: NDArray[Any] | None, default: float, size: int) -> NDArray[np.float64]:
    return np.full(size, default) if given is None else given.astype(np.float64).ravel()
