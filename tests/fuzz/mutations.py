"""What damage looks like: to bytes, and to trees of JSON."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import numpy as np

#: Values that a JSON file may hold where something else was expected.
HOSTILE: list[Any] = [
    *(0, 1, -1, 2, 3, 64, 65, 256, 257, 2**15, 2**16, 2**20, 2**20 + 1, 2**31 - 1, 2**31, 2**32),
    *(2**63 - 1, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf")),
    *(None, True, False, "", "x", "0", "csr", "dense", "relu", "elu", "leaky_relu", "argmax"),
    *("clip", "unscale", "raw", "uint8", "bool", "float64", "\ud800", "\0", "x" * 5000, "9" * 5000),
    *([], {}, [0], [1], [1, 1], [[]], {"": 0}, [None] * 100, [1] * 40, [2**20, 2**20]),
]


def pick(rng: np.random.Generator, among: Any) -> Any:
    """One of them."""
    return among[int(rng.integers(len(among)))]


def hostile(rng: np.random.Generator) -> Any:
    """A value; `to_json` turns the last kind into lists within lists."""
    if rng.random() < 0.02:
        return f"@{pick(rng, (50, 900, 3000, 100_000))}@"
    return copy.copy(pick(rng, HOSTILE))


def refused(error: Exception) -> bool:
    """What a refusal counts as; it must say something, and not for ever."""
    if not 0 < len(str(error)) < 10_000:
        raise AssertionError("expected a message of a readable length") from error
    return False


def to_json(tree: Any) -> str:
    """JSON, deeper than an encoder would write where `hostile` asked for it."""
    return re.sub(
        r'"@(\d+)@"', lambda found: "[" * int(found[1]) + "]" * int(found[1]), json.dumps(tree)
    )


def damage_tree(rng: np.random.Generator, tree: Any) -> Any:
    """A JSON tree with one place changed: replaced, taken out, doubled, or swapped with another."""
    container, place = None, None
    node = tree
    while isinstance(node, dict | list) and node and (container is None or rng.random() < 0.75):
        container = node
        place = pick(rng, list(node)) if isinstance(node, dict) else int(rng.integers(len(node)))
        node = node[place]
    if container is None:
        return hostile(rng)
    what = rng.random()
    if what < 0.6:
        container[place] = nudged(rng, node)
    elif what < 0.75:
        del container[place]
    elif isinstance(container, list):
        container[place:place] = [copy.deepcopy(node)] * int(rng.integers(1, 4))
    else:
        other = pick(rng, list(container))
        container[place], container[other] = container[other], container[place]
    return tree


def nudged(rng: np.random.Generator, value: Any) -> Any:
    """A number near by, or something else altogether."""
    if isinstance(value, int | float) and rng.random() < 0.4:
        return value + pick(rng, (-1, 1, 8, -8))
    return hostile(rng)


def damage_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Flipped, overwritten, taken out, doubled or inserted bytes."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        place, size = int(rng.integers(len(damaged) + 1)), int(pick(rng, (1, 1, 2, 4, 8, 40)))
        noise = rng.integers(0, 256, size, np.uint8).tobytes()
        special = pick(rng, (b"\xff", b"\0", b"\x7f", b"\x80")) * size
        what = rng.integers(6)
        if what == 0:
            damaged[place : place + size] = noise
        elif what == 1:
            damaged[place : place + size] = special
        elif what == 2:
            del damaged[place : place + size]
        elif what == 3:
            damaged[place:place] = damaged[place : place + size]
        elif what == 4:
            damaged[place:place] = noise
        elif place < len(damaged):
            damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)
