"""The compiled core called directly: types, shapes, layouts and numbers that nobody would give it.

A case is a seed. The calls that follow from it are made in this process, past every check of the
Python side.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from mutations import pick

from sparseagent import _core

_FIELDS = 17
_TUNE = 14
_NAMES = ("identity", "relu", "tanh", "sigmoid", "elu", "leaky_relu", "silu", "gelu", "gelu_tanh")


class HostileError(Exception):
    """Raised by objects that are asked for anything."""


class Thing:
    """Raises whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        raise HostileError(name)

    def __index__(self) -> int:
        raise HostileError

    __len__ = __iter__ = __float__ = __int__ = __bool__ = __str__ = __repr__ = __index__

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise HostileError


class Liar(list[Any]):
    """A list that says it is longer."""

    def __len__(self) -> int:
        return 1 << 40


class Array(np.ndarray[Any, Any]):
    """A subclass that says it is another shape."""

    shape = (1 << 20, 1 << 20)  # type: ignore[assignment]


class Number(float):
    """A subclass of a plain type."""


def things(rng: np.random.Generator) -> list[Any]:
    """One of everything."""
    rows = rng.normal(size=(4, 6)).astype(np.float32)
    frozen = rows.copy()
    frozen.setflags(write=False)
    misaligned = np.zeros(97, np.uint8)[1:].view(np.float32).reshape(4, 6)
    return [
        *(None, True, 0, -1, 1, 2, 64, 65, 2**31 - 1, 2**31, 2**63, -(2**63), 10**30),
        *(0.0, -0.5, 1e308, float("nan"), float("inf"), -float("inf"), 1j, Number(2.0)),
        *("", "x", "relu", "csr", "avx2", "scalar", "\0", "\ud800", b"relu", "y" * 100_000),
        *((), (1,), (None,) * 9, [], [1], [[]], [None], {}, {1: 2}, iter([1])),
        *(Thing(), Thing, object(), object, len, _core.Plan, np, Ellipsis),
        *(rows, rows[:, ::2], rows.T, rows[::-1], rows[0], rows[:0], rows[None], rows[:, :3]),
        *(rows.astype(np.float64), rows.astype(">f4"), rows.astype(np.float16), rows > 0),
        *(rows.astype(object), rows.astype("U9"), rows.view(np.int32), rows.view(Array), frozen),
        *(misaligned, np.zeros(()), np.zeros((0, 6), np.float32), np.zeros((1,) * 30, np.float32)),
        *(
            *huge(),
            np.float32(1),
            np.int64(3),
            np.zeros(6, "V3"),
        ),
        *(np.ma.masked_array(rows), np.datetime64("2020"), memoryview(b"abc"), np.full(6, np.nan)),
        *(np.array([0, 2**31 - 1], np.int32), np.array([-1], np.int32), np.full(3, np.inf)),
    ]


def huge() -> list[Any]:
    """What asks for more memory than there is: an error, but the end of a sanitized process."""
    if "asan" in os.environ.get("LD_PRELOAD", ""):
        return []
    return [Liar([1]), np.broadcast_to(np.float32(1), (1 << 30, 6))]


def layer(rng: np.random.Generator, width: int) -> tuple[Any, ...]:
    """One as it should be, mostly."""
    out, runs = int(rng.integers(1, 9)), int(pick(rng, (1, 1, 2, 5)))
    activation, alpha = str(pick(rng, _NAMES)), float(pick(rng, (0.0, 1.0, 0.3)))
    bias = rng.normal(size=out).astype(np.float32)
    if rng.random() < 0.3:
        weight = rng.normal(size=out * width).astype(np.float32)
        return (out, width, 1, None, None, weight, bias, activation, alpha)
    columns = [rng.permutation(width)[: int(rng.integers(width + 1))] for _ in range(out)]
    cuts = [np.sort(rng.integers(0, c.size + 1, runs - 1)) for c in columns]
    ends: list[int] = [0]
    for row, cut in zip(columns, cuts, strict=True):
        start = ends[-1]
        ends += [*(start + cut).tolist(), start + row.size]
    indices = np.concatenate(columns).astype(np.int32)
    values = rng.normal(size=indices.size).astype(np.float32)
    indptr = np.array(ends, np.int32)
    return (out, width, runs, indptr, indices, values, bias, activation, alpha)


def arguments(rng: np.random.Generator) -> list[Any]:
    """What `compile` would hand to the core."""
    widths, layers = [int(rng.integers(1, 9))], []
    for _ in range(int(rng.integers(1, 4))):
        layers.append(layer(rng, widths[-1]))
        widths.append(layers[-1][0])
    first, last = widths[0], widths[-1]
    head = str(pick(rng, ("raw", "argmax", "clip", "unscale")))
    low, high = np.zeros(last, np.float32), np.ones(last, np.float32)
    action = [1] if head == "argmax" else [last]
    step = (None, None, -np.inf, np.inf)
    if rng.random() < 0.5:
        step = (np.zeros(first), np.ones(first), -5.0, 5.0)
    isa, form = str(pick(rng, ("", "", "scalar", "avx2"))), str(pick(rng, ("", "csr")))
    threads, tune = int(pick(rng, (1, 1, 2))), float(pick(rng, (0.0, 0.0, 0.01)))
    return [
        *(layers, first, [first], *step, head, low, high, action),
        *(isa, form, threads, tune, [], []),
    ]


def spoil(rng: np.random.Generator, given: list[Any]) -> None:
    """Change one argument, or something in a layer."""
    if rng.random() < 0.5 or type(given[0]) is not list or not given[0]:
        given[int(rng.integers(_FIELDS))] = pick(rng, things(rng))
    else:
        spoil_layer(rng, given[0])


def spoil_layer(rng: np.random.Generator, layers: list[Any]) -> None:
    """Change one field of a layer, or one number of its arrays."""
    number = int(rng.integers(len(layers)))
    fields = layers[number]
    if not isinstance(fields, tuple) or not fields or rng.random() < 0.05:
        layers[number] = pick(rng, things(rng))
        return
    at = int(rng.integers(len(fields)))
    value = fields[at]
    if isinstance(value, np.ndarray) and 0 < value.size < 1000 and rng.random() < 0.7:
        value = value.copy()
        whole = value.dtype == np.int32
        special = (-1, 0, 1, 2**31 - 1, -(2**31)) if whole else (np.nan, np.inf, 0)
        value.flat[int(rng.integers(value.size))] = pick(rng, special)
    else:
        value = pick(rng, things(rng))
    layers[number] = (*fields[:at], value, *fields[at + 1 :])


def attempt(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What it gives, or None where it refuses in one of the ways that it may."""
    try:
        return call(*given, **named)
    except (TypeError, ValueError, OverflowError, MemoryError, HostileError):
        return None


def use(rng: np.random.Generator, act: Any, layers: Any, width: int) -> None:
    """Every method, with arrays that fit and with anything else."""
    rows = rng.normal(size=(int(pick(rng, (1, 3, 40))), width)).astype(np.float32)
    expected = _core.reference(layers, rows)
    for inputs in (rows, rows[0]):
        outputs = act(inputs)
        if act.plain:
            assert (
                outputs.tobytes() == expected[: max(1, outputs.size // expected.shape[1])].tobytes()
            )
        out = np.empty_like(outputs)
        act(inputs, out)
        assert out.tobytes() == outputs.tobytes()
    act.predict(rows)
    anything = things(rng)
    for _ in range(6):
        one, other, more = (pick(rng, anything) for _ in range(3))
        attempt(act, one)
        attempt(act, one, other)
        attempt(act, rows, other)
        attempt(act, rows, rows[:, :1])
        attempt(act, observations=one, out=other)
        attempt(act, one, other, more)
        attempt(act.predict, one)
        attempt(act.predict, one, other, more, deterministic=pick(rng, (True, False, one)))
        attempt(act.time, one, 2)
        attempt(
            act.time, rows, pick(rng, (0, -1, 3, 2**62, one if not isinstance(one, int) else 1))
        )
        attempt(act._cuts, one if not isinstance(one, int) or one < 1000 else 2**40)
        attempt(act._update, one)
        attempt(act._update, [one])
        attempt(act.__init__, one)
        attempt(type(act).__new__, type(act), one, other)
        attempt(_core.reference, layers, one)
        attempt(
            _core.pack_for_lanes,
            [pick(rng, layers)],
            pick(rng, (0, 1, 4, 16, 17)),
            bool(one is None),
        )
        attempt(_core.pack_for_lanes, one, 4, free_rows=True)
    spoiled = [list(layers)]
    spoil_layer(rng, spoiled[0])
    attempt(act._update, spoiled[0])
    act._update(layers)
    assert isinstance(act._choices, list)
    assert isinstance(act._costs, dict)
    assert isinstance(act.isa, str)
    assert act(rows).shape == expected.shape


class Plan(_core.Plan):
    """As the package's own: with attributes."""

    plain: bool


class Target:
    """See `fuzz.Target`."""

    def case(self, rng: np.random.Generator) -> bytes:
        """The seed of the calls."""
        return rng.bytes(8)

    def check(self, content: bytes) -> bool:
        """Make the calls."""
        rng = np.random.default_rng(list(content))
        given = arguments(rng)
        spoils = int(pick(rng, (0, 1, 1, 1, 2, 3)))
        for _ in range(spoils):
            spoil(rng, given)
        if isinstance(given[_TUNE], int | float) and given[_TUNE] > 1:
            given[_TUNE] = 1.0  # it may take as long as it is told to
        act = attempt(Plan, *given)
        if act is None:
            assert spoils
            return False
        unchanged = given[3] is None and given[4] is None
        act.plain = unchanged and given[5] == -np.inf and given[6] == np.inf
        if not isinstance(given[0], list | tuple):
            return True
        use(rng, act, given[0], int(given[1]))
        return True

    def memory(self, content: bytes) -> int:
        """Small plans."""
        return 1 << 30
