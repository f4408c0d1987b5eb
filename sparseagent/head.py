"""Action heads: from the network's output to the action that the environment takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseagent.csr import MAX_AXES, Float32, ReadOnly


@dataclass(frozen=True)
class Raw:
    """The network's output is the action: float32 `[B, out]`."""

    kind: ClassVar[str] = "raw"

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        """Type and shape of one action of so many outputs."""
        return "float32", (outputs,)

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, out]` -> `[B, out]`, a copy."""
        return outputs.copy()


@dataclass(frozen=True)
class Argmax:
    """A discrete action: the index of the largest output, the lowest index on a tie, int64 `[B]`.

    A NaN counts as the largest, as in NumPy and torch.
    """

    kind: ClassVar[str] = "argmax"

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        """Type and shape of one action of so many outputs."""
        return "int64", ()

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, out]` -> int64 `[B]`."""
        indices: NDArray[np.int64] = outputs.argmax(axis=1)
        return indices


@dataclass(frozen=True, eq=False)
class Box(ReadOnly):
    """Bounds of a continuous action space, shared by `Clip` and `Unscale`.

    Attributes:
        low: lower bounds, float32, shaped like the action.
        high: upper bounds, float32, same shape.

    Raises:
        ValueError: shapes differ, a bound is NaN, or `low > high`.
    """

    low: Float32
    high: Float32

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            array = np.array(getattr(self, name), np.float32)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.low.shape != self.high.shape or not 1 <= self.low.ndim <= MAX_AXES:
            raise ValueError(
                f"low, high: expected equal shapes with 1 to {MAX_AXES} axes, "
                f"got {self.low.shape} and {self.high.shape}"
            )
        if not (self.low <= self.high).all():
            raise ValueError(f"low, high: expected low <= high, got {self.low} and {self.high}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return self.low.shape

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        """Type and shape of one action of so many outputs.

        Raises:
            ValueError: the bounds are those of another number of outputs.
        """
        if self.low.size != outputs:
            raise ValueError(f"head: expected bounds for {outputs} outputs, got {self.low.size}")
        return "float32", self.shape


@dataclass(frozen=True)
class Clip:
    """A continuous action clipped to its bounds: float32 `[B, *shape]`."""

    box: Box
    kind: ClassVar[str] = "clip"

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        """Type and shape of one action of so many outputs."""
        return self.box.action_of(outputs)

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, out]` -> float32 `[B, *shape]`."""
        shaped = outputs.reshape(len(outputs), *self.box.shape)
        return np.clip(shaped, self.box.low, self.box.high)


@dataclass(frozen=True)
class Unscale:
    """A continuous action in [-1, 1] stretched to its bounds: `low + 0.5 * (a + 1) * (high - low)`.

    The squashing tanh of SAC and TD3 is the last layer's activation, not part of the head.
    """

    box: Box
    kind: ClassVar[str] = "unscale"

    def __post_init__(self) -> None:
        if not np.isfinite([self.box.low, self.box.high]).all():
            raise ValueError("box: expected finite bounds to stretch to, got Inf")

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        """Type and shape of one action of so many outputs."""
        return self.box.action_of(outputs)

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, out]` -> float32 `[B, *shape]`."""
        shaped = outputs.reshape(len(outputs), *self.box.shape)
        stretched: Float32 = self.box.low + np.float32(0.5) * (shaped + np.float32(1)) * (
            self.box.high - self.box.low
        )
        return stretched


Head = Raw | Argmax | Clip | Unscale


def clip_to(low: ArrayLike, high: ArrayLike) -> Clip:
    """A `Clip` head for the bounds `low`, `high`, shaped like the action."""
    return Clip(Box(np.asarray(low, np.float32), np.asarray(high, np.float32)))


def unscale_to(low: ArrayLike, high: ArrayLike) -> Unscale:
    """An `Unscale` head for the bounds `low`, `high`, shaped like the action."""
    return Unscale(Box(np.asarray(low, np.float32), np.asarray(high, np.float32)))
