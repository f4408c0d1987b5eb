"""The compiled core called directly: types, shapes, layouts and numbers that nobody would give it.

A case is a seed. The calls that follow from it are made in this process, past every check of the
Python side.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from mutations import damage_bytes, pick
from policy_target import batch_for
from programs import random_program, several_inputs  # policy_target says where that lies

import sparseagent as sa
from sparseagent import _core
from sparseagent.ops import Linear

_FIELDS = 7
_TUNE = 4


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


class Lookup(dict[str, Any]):
    """A dict that gives the same for whatever it is asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get(self, *_: Any) -> Any:
        return self.answer


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


def arguments(rng: np.random.Generator) -> list[Any]:
    """What `compile` would hand to the core."""
    isa, form = str(pick(rng, ("", "", "scalar", "avx2"))), str(pick(rng, ("", "csr")))
    threads, tune = int(pick(rng, (1, 1, 2))), float(pick(rng, (0.0, 0.0, 0.01)))
    return [policy(rng).to_bytes(), isa, form, threads, tune, [], []]


def policy(rng: np.random.Generator) -> sa.SparsePolicy:
    """A small one: of one input, of several, or a chain."""
    what = rng.random()
    if what < 0.2:
        return sa.SparsePolicy(several_inputs(rng, 1)[0])
    program = random_program(rng, int(rng.integers(1, 6)))
    if what < 0.6:
        layers = [op.layer for op in program.ops if isinstance(op, Linear)]
        layer = layers[int(rng.integers(len(layers)))]
        program = sa.chain((layer,), sa.Observation((layer.shape[1],)))
    out = next(iter(program.outputs.values())).size
    low, high = np.zeros(out, np.float32), np.ones(out, np.float32)
    heads = (sa.Raw(), sa.Argmax(), sa.clip_to(low, high), sa.unscale_to(low, high))
    return sa.SparsePolicy(program, pick(rng, heads))


def spoil(rng: np.random.Generator, given: list[Any]) -> None:
    """Change one argument, or bytes of the file."""
    if rng.random() < 0.3 and isinstance(given[0], bytes):
        given[0] = damage_bytes(rng, given[0])
    else:
        given[int(rng.integers(_FIELDS))] = pick(rng, things(rng))


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


def use(rng: np.random.Generator, act: Any, file: bytes) -> None:
    """Every method, with arrays that fit and with anything else."""
    made = sa.load(file)
    layers = [layer.core_argument() for layer in made.layers]
    batch = int(pick(rng, (1, 3, 40)))
    given = {name: batch_for(rng, step, batch) for name, step in made.inputs.items()}
    rows = next(iter(given.values()))
    expected = _core.reference(file, list(given.values()))
    call(act, given, expected)
    anything = things(rng)
    for _ in range(6):
        one, other, more = (pick(rng, anything) for _ in range(3))
        several = {name: pick(rng, (rows, one, rows[:0], rows[0])) for name in given}
        for argument in (one, several, Lookup(other), {**given, "more": one}):
            attempt(act, argument)
            attempt(act, argument, other)
            attempt(act.predict, argument)
            attempt(act.outputs, argument)
        attempt(act, rows, other)
        within = rows.copy()  # it may be written to
        attempt(act, within, within[:, :1])
        attempt(act, observations=one, out=other)
        attempt(act, one, other, more)
        attempt(act.predict, one, other, more, deterministic=pick(rng, (True, False, one)))
        attempt(act.time, one, 2)
        attempt(act.time, several, 2)
        attempt(act.prefetch)
        attempt(
            act.time, rows, pick(rng, (0, -1, 3, 2**62, one if not isinstance(one, int) else 1))
        )
        attempt(act._cuts, one if not isinstance(one, int) or one < 1000 else 2**40)
        attempt(act._update, one)
        attempt(act._update, [one])
        attempt(act.__init__, one)
        attempt(type(act).__new__, type(act), one, other)
        attempt(_core.reference, file, one)
        attempt(_core.reference, file, [pick(rng, (rows, one))] * len(given), more)
        attempt(_core.reference, one, list(given.values()))
        pack(rng, layers, anything)
    spoiled = list(layers)
    spoil_layer(rng, spoiled)
    attempt(act._update, spoiled)
    act._update(layers)
    assert isinstance(act._choices, list)
    assert isinstance(act._costs, dict)
    assert isinstance(act.isa, str)
    call(act, given, expected)


def call(act: Any, given: dict[str, np.ndarray[Any, Any]], expected: np.ndarray[Any, Any]) -> None:
    """Calls as they should be, with the reference's bits."""
    assert act(given).tobytes() == expected.tobytes()
    assert next(iter(act.outputs(given).values())).tobytes() == expected.tobytes()
    assert act({name: rows[0] for name, rows in given.items()}).tobytes() == expected[0].tobytes()
    assert len(act.predict(given)[0]) == len(expected)
    rows = next(iter(given.values()))
    if len(given) == 1:
        out = np.empty_like(expected)
        act(rows, out)
        assert out.tobytes() == act(rows).tobytes() == expected.tobytes()


def pack(rng: np.random.Generator, layers: list[Any], anything: list[Any]) -> None:
    """The packer with a layer's structure, one part of it another."""
    _, width, runs, indptr, indices, *_ = pick(rng, layers)
    given = [width, runs, indptr, indices, pick(rng, (0, 1, 4, 16, 17)), bool(rng.random() < 0.5)]
    attempt(_core.pack_for_lanes, *given)
    place = int(rng.integers(len(given)))
    value = given[place]
    if isinstance(value, np.ndarray) and value.size and rng.random() < 0.6:
        value = value.copy()
        value[int(rng.integers(value.size))] = pick(rng, (-1, 0, 1, 2**31 - 1, -(2**31)))
        given[place] = value
    else:
        given[place] = pick(rng, anything)
    attempt(_core.pack_for_lanes, *given)


class Target:
    """See `fuzz.Target`."""

    def case(self, rng: np.random.Generator) -> bytes:
        """The seed of the calls."""
        return rng.bytes(8)

    def check(self, content: bytes) -> bool:
        """Make the calls."""
        rng = np.random.default_rng(list(content))
        given = arguments(rng)
        file = given[0]
        spoils = int(pick(rng, (0, 1, 1, 1, 2, 3)))
        for _ in range(spoils):
            spoil(rng, given)
        if isinstance(given[_TUNE], int | float) and given[_TUNE] > 1:
            given[_TUNE] = 1.0  # it may take as long as it is told to
        act = attempt(_core.Plan, *given)
        if act is None:
            assert spoils
            return False
        if given[0] is file:
            use(rng, act, file)
        return True

    def memory(self, content: bytes) -> int:
        """Small plans."""
        return 1 << 30
