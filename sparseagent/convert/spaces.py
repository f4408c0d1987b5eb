"""Observation and action spaces, from gymnasium's objects or from a pickle that is only read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.inert_pickle import Call, Name, describe
from sparseagent.convert.normaliser import Normaliser
from sparseagent.convert.pickled_numpy import array, attributes, number
from sparseagent.convert.unsupported import UnsupportedError
from sparseagent.head import Argmax, Head, clip_to, unscale_to
from sparseagent.ops.observe import DTYPES, Observation


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
    def dtype(self) -> str:
        """NumPy name of the element type."""
        return str(self.low.dtype)

    @property
    def is_image(self) -> bool:
        """Stable-Baselines3's rule for what it divides by 255: uint8, 3 axes, 0 to 255."""
        plain = self.dtype == "uint8" and len(self.shape) == 3
        return plain and bool((self.low == 0).all() and (self.high == 255).all())

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
    """The integers from 0 to `n - 1`."""

    n: int

    def __str__(self) -> str:
        return f"Discrete({self.n})"


Space = BoxSpace | DiscreteSpace


def read_space(name: str, space: Any) -> Space:
    """The space in a gymnasium object, or in the tree of a pickled one.

    Args:
        name: what messages call it, `"observation_space"` or `"action_space"`.
        space: a `gymnasium.spaces.Space`, or what `inert_pickle.read_pickle` made of one.

    Raises:
        UnsupportedError: neither Box nor Discrete.
        ValueError: a Discrete that does not start at 0, or an unreadable pickle.
    """
    if isinstance(space, Call):
        return _from_tree(name, space)
    kind = _kind(type(space))
    if kind == "Box":
        return _box(name, np.array(space.low), np.array(space.high))
    if kind == "Discrete":
        return _discrete(name, space.n, space.start)
    is_space = any(_of_gym(base.__module__) for base in type(space).__mro__)
    got = type(space).__name__ if is_space else describe(space)
    raise UnsupportedError(f"{name}: expected a Box or Discrete space, got {got}")


def observation_step(
    space: Space, normaliser: Normaliser | None, *, normalize_images: bool
) -> Observation:
    """What happens to an observation of `space` before the first layer.

    Raises:
        UnsupportedError: a space that is not a Box (one-hot coding is no step of `Observation`).
        ValueError: statistics of another shape, a dtype that no `Observation` takes, or an image
            that is normalised and scaled as well.
    """
    if not isinstance(space, BoxSpace):
        raise UnsupportedError(f"observation_space: expected a Box, got {space}")
    scaled = normalize_images and space.is_image
    if normaliser is None:
        if space.dtype not in DTYPES:
            raise ValueError(
                f"observation_space: expected dtype {', '.join(DTYPES)}, got {space.dtype}"
            )
        scale = np.full(math.prod(space.shape), 255.0) if scaled else None
        return Observation(space.shape, space.dtype, scale=scale)
    if normaliser.mean.shape != space.shape:
        raise ValueError(
            f"vecnormalize: expected statistics of shape {space.shape}, as the policy's "
            f"observations, got {normaliser.mean.shape}"
        )
    if scaled:
        raise ValueError(
            f"vecnormalize: expected none for {space}, which the policy divides by 255 itself"
        )
    return normaliser.step(space.dtype)


def action_head(space: Space, outputs: int, *, squashed: bool) -> Head:
    """The head that turns `outputs` numbers into an action of `space`.

    Args:
        space: the action space.
        outputs: width of the network's output.
        squashed: whether the outputs lie in [-1, 1], to be stretched rather than clipped.

    Raises:
        ValueError: the space has another size, or actions that are not float32.
    """
    if isinstance(space, DiscreteSpace):
        if space.n != outputs or squashed:
            raise ValueError(f"action_space: expected one for {outputs} outputs, got {space}")
        return Argmax()
    if space.dtype != "float32":
        raise ValueError(
            f"action_space: expected float32 actions, got {space}; pass action_space= with a "
            f"float32 Box to state that the environment takes those"
        )
    if space.low.size != outputs:
        raise ValueError(f"action_space: expected a Box of {outputs} numbers, got {space}")
    return unscale_to(space.low, space.high) if squashed else clip_to(space.low, space.high)


def _kind(cls: type) -> str:
    """Name of the gymnasium (or old gym) space that `cls` is or derives from."""
    return next((base.__name__ for base in cls.__mro__ if _of_gym(base.__module__)), cls.__name__)


def _of_gym(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in ("gymnasium", "gym")


def _from_tree(name: str, node: Call) -> Space:
    callee = node.callee
    known = isinstance(callee, Name) and _of_gym(callee.module)
    if known and callee.qualname == "Box":
        state = attributes(name, node)
        return _box(name, *(array(f"{name}: {key}", state.get(key)) for key in ("low", "high")))
    if known and callee.qualname == "Discrete":
        state = attributes(name, node)
        start = number(f"{name}: start", state.get("start", 0))
        return _discrete(name, number(f"{name}: n", state.get("n")), start)
    raise UnsupportedError(
        f"{name}: expected a Box or Discrete space, got {describe(node)}; pass {name}= if it "
        f"behaves as one"
    )


def _box(name: str, low: NDArray[Any], high: NDArray[Any]) -> BoxSpace:
    if low.shape != high.shape or low.dtype != high.dtype:
        raise ValueError(
            f"{name}: expected low and high of one shape and type, got {low.shape} {low.dtype} and "
            f"{high.shape} {high.dtype}"
        )
    if not (low <= high).all():
        raise ValueError(f"{name}: expected low <= high in every place, got a Box that has others")
    return BoxSpace(low, high)


def _discrete(name: str, n: Any, start: Any) -> DiscreteSpace:
    if n != int(n) or n < 1:
        raise ValueError(f"{name}: expected Discrete actions, at least one, got {n}")
    if start != 0:
        raise ValueError(
            f"{name}: expected Discrete actions that start at 0, as Stable-Baselines3 gives "
            f"them, got start {start}"
        )
    return DiscreteSpace(int(n))
