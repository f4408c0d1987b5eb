"""Spaces from the tree of a pickle, which is only read."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseagent.agents import spaces
from sparseagent.agents.spaces import Space
from sparseagent.convert.inert_pickle import Call, Name, describe
from sparseagent.convert.pickled_numpy import array, attributes, number
from sparseagent.unsupported import UnsupportedError

_MOST_ENTRIES = 1000


def read_pickled_space(name: str, given: Any, *, nested: bool = False) -> Space:
    """The space in a gymnasium object, or in the tree of a pickled one.

    Args:
        name: What messages call it, `"observation_space"` or `"action_space"`.
        given: A space, or what `inert_pickle.read_pickle` made of one.
        nested: Whether it lies in a Dict.

    Raises:
        UnsupportedError: A space of another kind.
        ValueError: An unreadable pickle, or a space that contradicts itself.
    """
    if not isinstance(given, Call):
        if given is None or isinstance(given, Name | str | int | float | dict | list | tuple):
            raise UnsupportedError(
                f"{name}: expected a {spaces.EXPECTED} space, got {describe(given)}"
            )
        return spaces.read_space(name, given)
    callee = given.callee
    kind = callee.qualname if isinstance(callee, Name) and spaces.of_gym(callee.module) else ""
    if kind == "Dict" and not nested:
        return _dictionary(name, attributes(name, given).get("spaces"))
    if kind not in ("Box", "Discrete", "MultiDiscrete", "MultiBinary"):
        raise UnsupportedError(
            f"{name}: expected a {spaces.EXPECTED} space, got {describe(given)}; pass {name}= if "
            f"it behaves as one"
        )
    state = attributes(name, given)
    if kind == "Box":
        low, high = (array(f"{name}: {key}", state.get(key)) for key in ("low", "high"))
        return spaces.box(name, low, high)
    if kind == "Discrete":
        start = number(f"{name}: start", state.get("start", 0))
        return spaces.discrete(name, number(f"{name}: n", state.get("n")), start)
    if kind == "MultiDiscrete":
        sizes = array(f"{name}: nvec", state.get("nvec"))
        given_start = state.get("start")
        starts = np.zeros_like(sizes) if given_start is None else array(name, given_start)
        return spaces.multi_discrete(name, sizes, starts)
    return spaces.multi_binary(name, _bits(name, state.get("n")))


def _bits(name: str, node: Any) -> Any:
    """The length or the axes of a MultiBinary."""
    if isinstance(node, tuple | list) and len(node) <= spaces.MOST_AXES:
        return tuple(number(f"{name}: n", axis) for axis in node)
    if isinstance(node, Call):
        return tuple(array(f"{name}: n", node).ravel()[: spaces.MOST_AXES + 1].tolist())
    return number(f"{name}: n", node)


def _dictionary(name: str, node: Any) -> Space:
    ordered = isinstance(node, Call) and node.callee == Name("collections", "OrderedDict")
    entries = node.items if ordered else list(node.items()) if isinstance(node, dict) else None
    if entries is None or not 1 <= len(entries) <= _MOST_ENTRIES:
        raise ValueError(f"{name}: expected the entries of a Dict, got {describe(node)}")
    found = {}
    for pair in entries:
        key, space = pair if isinstance(pair, tuple) and len(pair) == 2 else (None, None)
        if not isinstance(key, str) or key in found:
            raise ValueError(f"{name}: expected a Dict with texts as keys, got {describe(key)}")
        found[key] = read_pickled_space(f"{name}: {key[:40]}", space, nested=True)
    return spaces.dictionary(name, found)
