"""Observation and action spaces, as far as policies take them; no gymnasium is needed for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.ops.observe import DTYPES, Observation
from sparseagent.unsupported import UnsupportedError

#: Numbers of a MultiDiscrete or MultiBinary, and entries of a Dict: more are taken for damage.
_MOST_NUMBERS = 1 << 16
MOST_AXES = 8


@dataclass(frozen=True, eq=False)
class BoxSpace:
    """A continuous or integer box; `low` and `high` carry its shape and dtype."""

    low: NDArray[Any]
    high: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one element."""
        return self.low.shape

    @property
    def size(self) -> int:
        """Features that a network sees of it."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> str:
        """NumPy name of the element type."""
        return str(self.low.dtype)

    @property
    def is_image(self) -> bool:
        """Stable-Baselines3's rule for what it divides by 255: uint8, 3 axes, 0 to 255."""
        plain = self.dtype == "uint8" and len(self.shape) == 3
        return plain and bool((self.low == 0).all() and (self.high == 255).all())

    def as_box(self) -> BoxSpace:
        """Its bounds."""
        return self

    def reshaped(self, shape: tuple[int, ...]) -> BoxSpace:
        """The same bounds in another shape."""
        return BoxSpace(self.low.reshape(shape), self.high.reshape(shape))

    def __str__(self) -> str:
        low, high = (
            str(bound.flat[0]) if bound.size and (bound == bound.flat[0]).all() else str(bound)
            for bound in (self.low, self.high)
        )
        return f"Box({low}, {high}, {self.shape}, {self.dtype})"


@dataclass(frozen=True)
class DiscreteSpace:
    """The integers from `start` to `start + n - 1`."""

    n: int
    start: int = 0

    @property
    def size(self) -> int:
        """Features that a network sees of it: one for each number."""
        return self.n

    def __str__(self) -> str:
        return f"Discrete({self.n}, start={self.start})" if self.start else f"Discrete({self.n})"


@dataclass(frozen=True)
class MultiDiscreteSpace:
    """Several integers, each from its start on."""

    sizes: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Features that a network sees of it: one for each value of each number."""
        return sum(self.sizes)

    def __str__(self) -> str:
        starts = f", start={list(self.starts)}" if any(self.starts) else ""
        return f"MultiDiscrete({list(self.sizes)}{starts})"


@dataclass(frozen=True)
class MultiBinarySpace:
    """Bits `[*shape]`."""

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Features that a network sees of it: one for each bit."""
        return math.prod(self.shape)

    def as_box(self) -> BoxSpace:
        """Its bounds."""
        return BoxSpace(np.zeros(self.shape, np.int8), np.ones(self.shape, np.int8))

    def __str__(self) -> str:
        return f"MultiBinary({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class DictSpace:
    """Several named spaces, in the order in which their features lie."""

    spaces: Mapping[str, Space]

    @property
    def size(self) -> int:
        """Features that a network sees of it."""
        return sum(space.size for space in self.spaces.values())

    def __str__(self) -> str:
        return f"Dict({', '.join(f'{key}: {space}' for key, space in self.spaces.items())})"


Space = BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace | DictSpace

#: The input of an observation that is no Dict.
PLAIN = "observation"


def read_space(name: str, space: Any) -> Space:
    """The space in a gymnasium (or old gym) object.

    Args:
        name: What messages call it, `"observation_space"` or `"action_space"`.
        space: A `gymnasium.spaces.Space`, or one of ours, which is returned as it is.

    Raises:
        UnsupportedError: A space of another kind.
        ValueError: One that contradicts itself.
    """
    if isinstance(space, Space):
        return space
    kind = _KINDS.get(_kind(type(space)))
    if kind is not None:
        return kind(name, space)
    is_space = any(of_gym(base.__module__) for base in type(space).__mro__)
    got = type(space).__name__ if is_space or isinstance(space, type) else repr(space)
    raise UnsupportedError(f"{name}: expected a {EXPECTED} space, got {got:.100}")


#: What messages say is known.
EXPECTED = "Box, Discrete, MultiDiscrete, MultiBinary or Dict"


def box(name: str, low: NDArray[Any], high: NDArray[Any]) -> BoxSpace:
    """A Box of these bounds, checked."""
    if low.shape != high.shape or low.dtype != high.dtype:
        raise ValueError(
            f"{name}: expected low and high of one shape and type, got {low.shape} {low.dtype} and "
            f"{high.shape} {high.dtype}"
        )
    if not (low <= high).all():
        raise ValueError(f"{name}: expected low <= high in every place, got a Box that has others")
    return BoxSpace(low, high)


def discrete(name: str, n: Any, start: Any) -> DiscreteSpace:
    """A Discrete of these numbers, checked."""
    if n != int(n) or n < 1 or start != int(start):
        raise ValueError(f"{name}: expected Discrete numbers, at least one, got {n} from {start}")
    return DiscreteSpace(int(n), int(start))


def multi_discrete(name: str, sizes: NDArray[Any], starts: NDArray[Any]) -> MultiDiscreteSpace:
    """A MultiDiscrete of these numbers, checked."""
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or starts.dtype.kind not in "iu":
        raise UnsupportedError(f"{name}: expected a MultiDiscrete of one axis, got {sizes.shape}")
    fits = starts.shape == sizes.shape and 1 <= sizes.size <= _MOST_NUMBERS
    if not fits or not (sizes >= 1).all():
        raise ValueError(f"{name}: expected MultiDiscrete sizes of at least 1, got others")
    return MultiDiscreteSpace(tuple(sizes.tolist()), tuple(starts.tolist()))


def multi_binary(name: str, shape: Any) -> MultiBinarySpace:
    """A MultiBinary of this shape or length, checked."""
    axes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if not 1 <= len(axes) <= MOST_AXES or not all(
        n == int(n) and 1 <= n <= _MOST_NUMBERS for n in axes
    ):
        raise ValueError(f"{name}: expected MultiBinary bits, at least one, got others")
    return MultiBinarySpace(tuple(int(n) for n in axes))


def dictionary(name: str, spaces: Mapping[Any, Space]) -> DictSpace:
    """A Dict of these spaces, checked: keys are texts, and no Dict lies in it."""
    if not spaces or not all(isinstance(key, str) for key in spaces):
        raise ValueError(f"{name}: expected a Dict with texts as keys, got others or none")
    for key, space in spaces.items():
        if isinstance(space, DictSpace):
            raise UnsupportedError(f"{name}: expected a Dict without another in it, got one: {key}")
    return DictSpace(dict(spaces))


def check_kind(name: str, own: Space, stated: Space) -> None:
    """Refuse a space of another kind in place of an agent's own: its outputs mean something else.

    Raises:
        ValueError: The kinds differ.
    """
    if type(own) is not type(stated):
        raise ValueError(f"{name}: expected one like the agent's own, {own}, got {stated}")


def inputs(space: Space) -> Mapping[str, Space]:
    """The spaces that a policy observes, by the names of its inputs."""
    return space.spaces if isinstance(space, DictSpace) else {PLAIN: space}


def observation_step(
    space: Space, normaliser: Observation | None = None, *, normalize_images: bool = False
) -> Observation:
    """What happens to an observation of a space without entries before the first layer.

    Discrete and MultiDiscrete numbers become one-hot rows, counted from 0, as Stable-Baselines3
    makes them.

    Args:
        space: Of the observation.
        normaliser: The step that normalises it, or `None`.
        normalize_images: Whether uint8 images are divided by 255.

    Raises:
        UnsupportedError: A Dict, or numbers that do not count from 0.
        ValueError: Statistics of another shape, or what is no Box is normalised, a dtype that no
            `Observation` takes, or an image that is normalised and scaled as well.
    """
    if isinstance(space, BoxSpace):
        return _box_step(space, normaliser, normalize_images=normalize_images)
    if normaliser is not None:
        raise ValueError(
            f"vecnormalize: expected none for {space}, which is no Box, got statistics"
        )
    if isinstance(space, MultiBinarySpace):
        return Observation(space.shape, "int8")
    if isinstance(space, DictSpace):
        raise UnsupportedError(f"observation_space: expected no Dict in a Dict, got {space}")
    starts = (space.start,) if isinstance(space, DiscreteSpace) else space.starts
    if any(starts):
        raise UnsupportedError(
            f"observation_space: expected numbers that count from 0, got {space}; shift them in "
            "the environment and pass observation_space= with the space without start"
        )
    if isinstance(space, DiscreteSpace):
        return Observation((), "int64", categories=(space.n,))
    return Observation((len(space.sizes),), "int64", categories=space.sizes)


def _box_step(
    space: BoxSpace, normaliser: Observation | None, *, normalize_images: bool
) -> Observation:
    scaled = normalize_images and space.is_image
    if normaliser is None:
        if space.dtype not in DTYPES:
            raise ValueError(
                f"observation_space: expected dtype {', '.join(DTYPES)}, got {space.dtype}"
            )
        scale = np.array([255.0]) if scaled else None
        return Observation(space.shape, space.dtype, scale=scale)
    if normaliser.shape != space.shape:
        raise ValueError(
            f"vecnormalize: expected statistics of shape {space.shape}, as the policy's "
            f"observations, got {normaliser.shape}"
        )
    if scaled:
        raise ValueError(
            f"vecnormalize: expected none for {space}, which the policy divides by 255 itself"
        )
    return normaliser


def of_gym(module: str) -> bool:
    """Whether a module is one of gymnasium's, or of gym's, which came before it."""
    return module.split(".", maxsplit=1)[0] in ("gymnasium", "gym")


def _kind(cls: type) -> str:
    """Name of the gymnasium (or old gym) space that `cls` is or derives from."""
    return next((base.__name__ for base in cls.__mro__ if of_gym(base.__module__)), cls.__name__)


_KINDS: Mapping[str, Callable[[str, Any], Space]] = {
    "Box": lambda name, space: box(name, np.array(space.low), np.array(space.high)),
    "Discrete": lambda name, space: discrete(name, space.n, getattr(space, "start", 0)),
    "MultiDiscrete": lambda name, space: multi_discrete(
        name,
        np.array(space.nvec),
        np.array(getattr(space, "start", np.zeros_like(space.nvec))),
    ),
    "MultiBinary": lambda name, space: multi_binary(name, space.shape),
    "Dict": lambda name, space: dictionary(
        name, {key: read_space(f"{name}: {key}", part) for key, part in space.spaces.items()}
    ),
}
