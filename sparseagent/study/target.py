"""Pass marks of a study's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparseagent.study.settings import check_mapping

_MOST = 10.0  # a share of a baseline's return; more is a percentage


@dataclass(frozen=True)
class Target:
    """A mark that a method is to reach.

    Attributes:
        value: least return, or None.
        shares: least share of other methods' return, by their names; of those with a sparsity at
            the same one.
    """

    value: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


def parse_targets(
    key: str, given: Any, levels: Mapping[str, tuple[float, ...]]
) -> dict[tuple[str, float], Target]:
    """The marks of an environment by method and sparsity.

    Args:
        key: how messages name the entry.
        given: method -> sparsity -> least return, or a mapping of `return` and `of_<method>`.
        levels: the sparsities at which each method of the environment is trained.

    Raises:
        ValueError: a key is unknown, or a number out of range.
        TypeError: a value has the wrong type.
    """
    check_mapping(key, given, tuple(levels), ())
    targets = {}
    for name, marks in given.items():
        if not isinstance(marks, dict) or not set(marks) <= set(levels[name]):
            raise ValueError(
                f"{key}.{name}: expected sparsities among {list(levels[name])} as keys, got "
                f"{marks!r}"
            )
        for sparsity, mark in marks.items():
            place = f"{key}.{name}.{sparsity}"
            targets[name, float(sparsity)] = _target(place, mark, [n for n in levels if n != name])
    return targets


def _target(place: str, given: Any, others: list[str]) -> Target:
    marks = given if isinstance(given, dict) else {"return": given}
    check_mapping(place, marks, ("return", *(f"of_{name}" for name in others)), ())
    if not marks:
        raise ValueError(f"{place}: expected return or of_<method>, got neither")
    for value in marks.values():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{place}: expected a number, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{place}: expected a finite number, got {value}")
    shares = {key.removeprefix("of_"): value for key, value in marks.items() if key != "return"}
    for name, share in shares.items():
        if not 0 < share <= _MOST:
            raise ValueError(
                f"{place}.of_{name}: expected a share of that method's return in (0, {_MOST:g}], "
                f"such as 0.97, got {share}"
            )
    return Target(marks.get("return"), shares)
