"""The JSON of a policy file, read as strictly as `csrc/policy/json.cpp` does: one language.

Python's own reader takes NaN, keys that occur twice, any depth and halves of characters, and `int`
takes `"3"` and 3.7. A file that only one of the two readers takes would be no format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

#: Lists and objects nest so deep at most, below the outermost.
DEEPEST = 64


def parse(text: str) -> Any:
    """The value that `text` is.

    Raises:
        ValueError: it is no JSON, nests too deeply, names a key of an object twice, or has a number
            that no float64 can hold or half a character.
    """
    value = json.loads(
        text,
        object_pairs_hook=_members,
        parse_float=_decimal,
        parse_int=_integer,
        parse_constant=_constant,
    )
    level, depth = [value], 0
    while level := [node for node in level if isinstance(node, dict | list)]:
        if depth > DEEPEST:
            raise ValueError(f"JSON: expected at most {DEEPEST} lists within lists")
        level = [child for node in level for child in _children(node)]
        depth += 1
    if "\\ud" in text.lower():  # the escape of half a character
        json.dumps(value, ensure_ascii=False).encode()
    return value


def whole(spec: Mapping[str, Any], name: str) -> int:
    """`spec[name]`, a whole number that is written as one."""
    return whole_number(name, spec[name])


def whole_number(name: str, value: Any) -> int:
    """`value` itself, if it is a whole number."""
    if type(value) is not int:
        raise ValueError(f"{name}: expected a whole number, got {value!r:.80}")
    return value


def wholes(spec: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """`spec[name]`, a list of whole numbers."""
    return tuple(whole_number(name, value) for value in items(spec, name))


def number(spec: Mapping[str, Any], name: str) -> float:
    """`spec[name]`, a number."""
    value = spec[name]
    if type(value) not in (int, float):
        raise ValueError(f"{name}: expected a number, got {value!r:.80}")
    return float(value)


def bound(spec: Mapping[str, Any], name: str) -> float | None:
    """`spec[name]`, a number or null."""
    return None if spec[name] is None else number(spec, name)


def text(spec: Mapping[str, Any], name: str) -> str:
    """`spec[name]`, a string."""
    value = spec[name]
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a string, got {value!r:.80}")
    return value


def truth(spec: Mapping[str, Any], name: str) -> bool:
    """`spec[name]`, true or false."""
    value = spec[name]
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false, got {value!r:.80}")
    return value


def items(spec: Mapping[str, Any], name: str) -> list[Any]:
    """`spec[name]`, a list."""
    value = spec[name]
    if not isinstance(value, list):
        raise ValueError(f"{name}: expected a list, got {value!r:.80}")
    return value


def members(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`spec[name]`, an object."""
    value = spec[name]
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected an object, got {value!r:.80}")
    return value


def _children(node: dict[str, Any] | list[Any]) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("JSON: a key occurs twice")
    return found


def _decimal(digits: str) -> float:
    value = float(digits)
    mantissa = digits.lower().partition("e")[0]
    vanished = value == 0 and any(digit in mantissa for digit in "123456789")
    if vanished or math.isinf(value):
        raise ValueError(f"JSON: {digits:.40} is out of range")
    return value


def _integer(digits: str) -> int:
    _decimal(digits)
    return int(digits)


def _constant(name: str) -> Any:
    raise ValueError(f"JSON: {name} is no number")
