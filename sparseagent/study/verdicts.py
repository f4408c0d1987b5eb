"""What came out, in a few sentences: pass marks, and pruned against tiny dense agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sparseagent.report import format_number
from sparseagent.study.results import (
    DENSE,
    TINY,
    TINY_UP_TO,
    Comparison,
    Group,
    Place,
    compare,
    in_words,
)

_BEHIND = "Not above the tiny dense agent of the same size"
_NEAR = 0.03  # share of the dense return that may be lost by an agent as good as dense


class Mark(NamedTuple):
    """A pass mark and whether it is met."""

    met: bool
    text: str


def first_lines(places: Sequence[Place]) -> list[str]:
    """The first lines of the report: where pruning does not pay, and which marks are missed."""
    behind = [f"{place.title}: {line}" for place in places if (line := _behind_tiny(place))]
    marks = [(place, mark) for place in places for mark in marks_of(place)]
    lines = []
    if behind:
        lines.append(f"**{_BEHIND}: {'; '.join(behind)}**")
    elif any(_pruned_with_tiny(place) for place in places):
        lines.append(
            f"Every pruned agent up to sparsity {TINY_UP_TO:g} is above the tiny dense agent of "
            "the same size."
        )
    if marks:
        lines.append(f"Pass marks met: {sum(mark.met for _, mark in marks)} of {len(marks)}.")
    lines += [f"**Missed** {place.title}: {mark.text}" for place, mark in marks if not mark.met]
    return lines


def place_lines(place: Place) -> list[str]:
    """The same for one environment, and the sparsest agent that is as good as the dense one."""
    lines = []
    if behind := _behind_tiny(place):
        lines.append(f"**{_BEHIND}: {behind}**")
    lines += [f"{mark.text}: {'met' if mark.met else '**missed**'}." for mark in marks_of(place)]
    best = _sparsest_near_dense(place)
    if best is not None:
        lines.append(
            f"The sparsest agent within {100 * _NEAR:g} % of the dense one: {best.label}, "
            f"{best.mean('kept'):,.0f} weights."
        )
    return lines


def marks_of(place: Place) -> list[Mark]:
    """The pass marks of an environment, as far as there are runs to judge."""
    marks = []
    dense = place.find(DENSE)
    for group in place.groups:
        if group.target is None:
            continue
        seeds = f"({len(group.rows)} of {group.planned} seeds)"
        found = f"{group.label}: {group.text}"
        if (least := group.target.value) is not None:
            met = group.summary.value >= least
            marks.append(Mark(met, f"{found} against the mark {format_number(least)} {seeds}"))
        if (share := group.target.of_dense) is not None and dense is not None:
            reached = dense.summary.value
            met = group.summary.value >= reached - (1.0 - share) * abs(reached)
            text = f"{found} against {100 * share:g} % of the dense agent's {dense.text} {seeds}"
            marks.append(Mark(met, text))
    return marks


def _behind_tiny(place: Place) -> str:
    """Which pruned agents are not above the tiny dense one; empty where all are."""
    parts = []
    equal: dict[str, list[str]] = {}
    fewest: list[int] = []
    for group, against in _pruned_with_tiny(place):
        found = against.difference
        if found.value > 0:
            continue
        if found.value == found.low == found.high == 0:
            equal.setdefault(group.method.label, []).append(f"{group.sparsity:g}")
            fewest.append(against.seeds)
            continue
        doubt = ", the interval holds 0" if found.high >= 0 else ""
        gap = in_words(found, against.seeds)
        parts.append(f"{group.label} ({gap}{doubt}; {_seeds(against.seeds)})")
    if equal:
        # Where the task is too easy to tell anybody apart, one clause is enough.
        names = [f"{label} {' and '.join(levels)}" for label, levels in equal.items()]
        parts.append(
            f"no difference at all for {', '.join(names)} (at least {_seeds(min(fewest))})"
        )
    return ", ".join(parts)


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def _pruned_with_tiny(place: Place) -> list[tuple[Group, Comparison]]:
    found = []
    for group in place.groups:
        is_pruned = group.method.name not in (DENSE, TINY) and group.sparsity <= TINY_UP_TO
        against = compare(group, place.find(TINY, group.sparsity)) if is_pruned else None
        if against is not None:
            found.append((group, against))
    return found


def _sparsest_near_dense(place: Place) -> Group | None:
    """The pruned agent of fewest weights that loses next to nothing of the dense one's return."""
    dense = place.find(DENSE)
    if dense is None:
        return None
    least = dense.summary.value - _NEAR * abs(dense.summary.value)
    near = [
        group
        for group in place.groups
        if group.method.name not in (DENSE, TINY) and group.summary.value >= least
    ]
    return min(near, key=lambda group: group.mean("kept"), default=None)
