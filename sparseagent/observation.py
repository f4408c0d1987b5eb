"""The observation step: what happens to an observation before the first layer sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseagent.csr import MAX_WIDTH, Float32, Float64, ReadOnly

#: As many axes as every NumPy can give an array.
MAX_AXES = 32

#: Types an environment may hand in; the network itself always sees float32.
DTYPES = ("float32", "float64", "uint8", "int8", "int32", "int64", "bool")


@dataclass(frozen=True, eq=False)
class Observation(ReadOnly):
    """Normalise, clip and cast: `z = float32(clip((x - shift) / scale, low, high))`.

    The step is computed in float64 with a true division, so it equals Stable-Baselines3's
    `VecNormalize` bit for bit. It belongs to the policy and travels in its file: losing the
    normaliser is the classic silent bug of deployed agents.

    Attributes:
        shape: shape of one observation; the network sees it flattened, `[in]`.
        dtype: what the environment hands out, one of `DTYPES` or its `np.dtype`; kept as the name.
            Other types are accepted as well.
        shift: float64 `[in]` (the mean), or None for 0.
        scale: float64 `[in]`, positive (the standard deviation, eps included), or None for 1.
        low: lower clip bound, may be `-inf`.
        high: upper clip bound, may be `inf`.

    Raises:
        ValueError: a bound, a shape or a number is out of range; the message names it.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    shift: Float64 | None = None
    scale: Float64 | None = None
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"shape: expected at least one positive axis, got {self.shape}")
        if len(self.shape) > MAX_AXES or max(self.shape) > MAX_WIDTH or self.size > MAX_WIDTH:
            raise ValueError(
                f"shape: expected at most {MAX_AXES} axes and {MAX_WIDTH} features, got "
                f"{self.shape!s:.80}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {self.dtype!r}")
        # An np.dtype equals its name, but JSON takes the name alone.
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not self.low < self.high:
            raise ValueError(f"low, high: expected low < high, got {self.low} and {self.high}")
        for name in ("shift", "scale"):
            object.__setattr__(self, name, self._per_feature(name))
        if self.scale is not None and not (self.scale > 0).all():
            raise ValueError("scale: expected positive numbers, got 0 or less")

    @property
    def size(self) -> int:
        """Number of features of one observation."""
        return math.prod(self.shape)

    @property
    def is_identity(self) -> bool:
        """Whether the step only casts to float32."""
        unbounded = math.isinf(self.low) and math.isinf(self.high)
        return self.shift is None and self.scale is None and unbounded

    @classmethod
    def normalise(
        cls, mean: ArrayLike, var: ArrayLike, *, eps: float, clip: float, dtype: str = "float32"
    ) -> Observation:
        """`clip((x - mean) / sqrt(var + eps), -clip, clip)`: the rule of SB3 and Tianshou.

        Libraries differ in where eps stands; for `sqrt(var) + eps` (skrl) build `scale` yourself.
        """
        mean64 = np.asarray(mean, np.float64)
        scale = np.sqrt(np.asarray(var, np.float64) + eps)
        return cls(mean64.shape, dtype, mean64.ravel(), scale.ravel(), -clip, clip)

    def apply(self, observations: NDArray[Any]) -> Float32:
        """The step in NumPy: `[B, *shape]` -> float32 `[B, in]`, the compiled step's equal."""
        x = np.asarray(observations).reshape(len(observations), self.size)
        if self.is_identity:
            return x.astype(np.float32)
        z = x.astype(np.float64)
        if self.shift is not None:
            z = z - self.shift
        if self.scale is not None:
            z = z / self.scale
        return np.clip(z, self.low, self.high).astype(np.float32)

    def _per_feature(self, name: str) -> Float64 | None:
        given = getattr(self, name)
        if given is None:
            return None
        array = np.array(given, np.float64).ravel()
        if array.size != self.size:
            raise ValueError(f"{name}: expected {self.size} numbers, got {array.size}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers, got Inf or NaN")
        array.setflags(write=False)
        return array
