"""Damage to a program as JSON holds it: slots, ops, spans, outputs and attributes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from mutations import nudged, pick


def damage_structure(rng: np.random.Generator, spec: Any) -> None:
    """One change, in place, to the spec of version 2; none where it was damaged before."""
    change = pick(rng, (_order, _double, _drop, _slot, _span, _span, _span, _output, _attribute))
    try:
        change(rng, spec)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        return


def _order(rng: np.random.Generator, spec: Any) -> None:
    ops = spec["ops"]
    first, second = (int(n) for n in rng.integers(len(ops), size=2))
    ops[first], ops[second] = ops[second], ops[first]


def _double(rng: np.random.Generator, spec: Any) -> None:
    """An op that writes what another one has written, or somewhere else."""
    op = copy.deepcopy(pick(rng, spec["ops"]))
    if rng.random() < 0.5:
        name = f"new{len(spec['slots'])}"
        spec["slots"][name] = _size(spec, op["writes"][0])
        op["writes"] = [name]
    spec["ops"].append(op)


def _drop(rng: np.random.Generator, spec: Any) -> None:
    del spec["ops"][int(rng.integers(len(spec["ops"])))]


def _slot(rng: np.random.Generator, spec: Any) -> None:
    """Another size, one too many, or two that change places."""
    slots = spec["slots"]
    name = pick(rng, list(slots))
    what = rng.integers(4)
    if what == 0:
        slots[name] = nudged(rng, slots[name])
    elif what == 1:
        slots[f"unused{len(slots)}"] = int(pick(rng, (1, 17, 1 << 20)))
    elif what == 2:
        slots[name] += int(pick(rng, (1, 8, 16, 100)))
    else:
        other = pick(rng, list(slots))
        slots[name], slots[other] = slots[other], slots[name]


def _span(rng: np.random.Generator, spec: Any) -> None:
    op = pick(rng, spec["ops"])
    spans = op["reads"] if op["reads"] and rng.random() < 0.6 else op["writes"]
    place = int(rng.integers(len(spans)))
    if rng.random() < 0.15:
        spans.append(copy.deepcopy(spans[place]))
    else:
        spans[place] = _other_span(rng, spec, spans[place])


def _output(rng: np.random.Generator, spec: Any) -> None:
    outputs = spec["outputs"]
    if rng.random() < 0.3:
        outputs[f"more{len(outputs)}"] = pick(rng, list(spec["slots"]))
    else:
        name = pick(rng, list(outputs))
        outputs[name] = _other_span(rng, spec, outputs[name])


def _attribute(rng: np.random.Generator, spec: Any) -> None:
    """Of another op, or a value near by."""
    op, other = pick(rng, spec["ops"]), pick(rng, spec["ops"])
    name = pick(rng, list(op))
    op[name] = copy.deepcopy(other[name]) if rng.random() < 0.4 else nudged(rng, op[name])


def _other_span(rng: np.random.Generator, spec: Any, span: Any) -> Any:
    """As wide, as a rule: in another slot, or moved by a few features."""
    size = _size(spec, span)
    slots = [name for name, given in spec["slots"].items() if given >= size]
    what = rng.random()
    if what < 0.15:
        return nudged(rng, span)
    if what < 0.3 and isinstance(span, list):
        return [span[0], span[1] + int(rng.integers(-2, 3)), span[2] + int(rng.integers(-2, 3))]
    name = pick(rng, slots)
    start = int(rng.integers(spec["slots"][name] - size + 1))
    return [name, start, start + size]


def _size(spec: Any, span: Any) -> int:
    return int(spec["slots"][span] if isinstance(span, str) else span[2] - span[1])
