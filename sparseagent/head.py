"""Action heads: from the network's outputs to the action that the environment takes.

Those of this module take the first output alone and know one action for it; those that also say
how likely other actions are, and sample, are in `sparseagent.distributions`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseagent.csr import MAX_AXES, Float32, ReadOnly

#: Names of tensors and attributes of a head, as the policy file holds them.
Tensors = dict[str, NDArray[Any]]
Attributes = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Head(ReadOnly, abc.ABC):
    """What makes an action of the program's outputs; every kind is a subclass.

    Attributes:
        kind: what the policy file calls it.
        samples: whether it knows a distribution of actions, not only one of them.
        since: the first version of the file format that holds it.
        learnt: the name of the tensor or attribute that training changes; "" if there is none.
    """

    kind: ClassVar[str]
    samples: ClassVar[bool] = False
    since: ClassVar[int] = 1
    learnt: ClassVar[str] = ""

    @abc.abstractmethod
    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        """Type and shape of one action of so many outputs.

        Raises:
            ValueError: the head is made for another number of outputs.
        """

    def check(self, outputs: Mapping[str, int]) -> None:
        """Raise ValueError unless it can read outputs of these sizes, the first of them first."""
        self.action_of(next(iter(outputs.values())))

    @abc.abstractmethod
    def apply(self, outputs: Float32) -> NDArray[Any]:
        """The deterministic action: first outputs float32 `[B, out]` -> `[B, *shape]`."""

    def attributes(self) -> Attributes:
        """What JSON holds of it besides its kind."""
        return {}

    def tensors(self) -> Tensors:
        """Its arrays by name, as the file holds them."""
        return {}

    @classmethod
    def read(cls, attributes: Attributes, tensors: Tensors) -> Head:
        """The head that `attributes()` and `tensors()` describe."""
        return cls()

    def numbers(self) -> Float32:
        """What training changes of it, `[n]`; none for most."""
        given = getattr(self, self.learnt, None) if self.learnt else None
        return np.array([] if given is None else given, np.float32).ravel()

    def resembles(self, other: Head) -> bool:
        """Whether the other one differs from it in `numbers` at most, not in how many they are."""
        one, two = (
            (head.kind, _without(head.attributes(), self.learnt), head.numbers().size)
            for head in (self, other)
        )
        arrays = (_without(head.tensors(), self.learnt) for head in (self, other))
        return one == two and _bits(next(arrays)) == _bits(next(arrays))

    def __eq__(self, other: object) -> bool:
        """Whether the other one is the same to the last bit."""
        return isinstance(other, Head) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self.kind)

    def _facts(self) -> Any:
        return self.kind, self.attributes(), _bits(self.tensors())


def _without(parts: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: part for key, part in parts.items() if key != name}


def _bits(tensors: Tensors) -> Any:
    return {name: (array.shape, array.tobytes()) for name, array in tensors.items()}


@dataclass(frozen=True, eq=False)
class Raw(Head):
    """The network's output is the action: float32 `[B, out]`."""

    kind: ClassVar[str] = "raw"

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        return "float32", (outputs,)

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, out]` -> `[B, out]`, a copy."""
        return outputs.copy()


@dataclass(frozen=True, eq=False)
class Argmax(Head):
    """A discrete action: the index of the largest output, the lowest index on a tie, int64 `[B]`.

    A NaN counts as the largest, as in NumPy and torch.
    """

    kind: ClassVar[str] = "argmax"

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
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


@dataclass(frozen=True, eq=False)
class Bounded(Head):
    """A continuous action between bounds: what `Clip` and `Unscale` have in common.

    Attributes:
        box: the bounds.
    """

    box: Box

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        if self.box.low.size != outputs:
            raise ValueError(
                f"head: expected bounds for {outputs} outputs, got {self.box.low.size}"
            )
        return "float32", self.box.shape

    def tensors(self) -> Tensors:
        return {"low": self.box.low, "high": self.box.high}

    @classmethod
    def read(cls, attributes: Attributes, tensors: Tensors) -> Head:
        for name in ("low", "high"):
            if tensors[name].dtype != np.float32:
                raise ValueError(f"head.{name}: expected float32, got {tensors[name].dtype}")
        return cls(Box(tensors["low"], tensors["high"]))


@dataclass(frozen=True, eq=False)
class Clip(Bounded):
    """A continuous action clipped to its bounds: float32 `[B, *shape]`."""

    kind: ClassVar[str] = "clip"

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, out]` -> float32 `[B, *shape]`."""
        shaped = outputs.reshape(len(outputs), *self.box.shape)
        return np.clip(shaped, self.box.low, self.box.high)


@dataclass(frozen=True, eq=False)
class Unscale(Bounded):
    """A continuous action in [-1, 1] stretched to its bounds: `low + 0.5 * (a + 1) * (high - low)`.

    The squashing tanh of TD3 is the last layer's activation, that of SAC the distribution's.
    """

    kind: ClassVar[str] = "unscale"

    def __post_init__(self) -> None:
        if not np.isfinite([self.box.low, self.box.high]).all():
            raise ValueError("box: expected finite bounds to stretch to, got Inf")

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, out]` -> float32 `[B, *shape]`."""
        shaped = outputs.reshape(len(outputs), *self.box.shape)
        stretched: Float32 = self.box.low + np.float32(0.5) * (shaped + np.float32(1)) * (
            self.box.high - self.box.low
        )
        return stretched


def clip_to(low: ArrayLike, high: ArrayLike) -> Clip:
    """A `Clip` head for the bounds `low`, `high`, shaped like the action."""
    return Clip(Box(np.asarray(low, np.float32), np.asarray(high, np.float32)))


def unscale_to(low: ArrayLike, high: ArrayLike) -> Unscale:
    """An `Unscale` head for the bounds `low`, `high`, shaped like the action."""
    return Unscale(Box(np.asarray(low, np.float32), np.asarray(high, np.float32)))
