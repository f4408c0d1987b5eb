"""One thing that can be disturbed, at several levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """How a rollout meets a disturbance of one level.

    Attributes:
        env_kwargs: Arguments for making the environment.
        wrappers: What is put around each environment, innermost first.
    """

    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[Callable[[Any], Any], ...] = ()


@dataclass(frozen=True)
class Disturbance:
    """One thing that can be disturbed.

    Attributes:
        name: What is disturbed, such as "pole length".
        levels: How much, rising and without repeats. `unchanged` need not be among them.
        unchanged: The level that means the environment as it is: 1 for a factor, 0 for noise.
        setting: The setting of a level; never asked for `unchanged`.
    """

    name: str
    levels: tuple[float, ...]
    unchanged: float
    setting: Callable[[float], Setting]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if not self.levels or not rising or not all(map(math.isfinite, self.levels)):
            raise ValueError(
                f"levels of {self.name!r} must be finite, rising and at least one, "
                f"got {self.levels}"
            )

    @property
    def all_levels(self) -> tuple[float, ...]:
        """The levels and the unchanged one, rising."""
        return tuple(sorted({*self.levels, self.unchanged}))
