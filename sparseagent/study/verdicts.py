"""What came out, in a few sentences: pass marks, and pruned against tiny dense agents."""

from __future__ import annotations

from collections.abc import Sequence

from sparseagent.report import format_number
from sparseagent.study.results import DENSE, TINY, TINY_UP_TO, Comparison, Group, Place, compare

_BEHIND = "Not above the tiny dense agent of the same size"


def first_lines(places: Sequence[Place]) -> list[str]:
    """The first lines of the report: where pruning does not pay, and which marks are missed."""
    behind = [line for place in places if (line := _behind_tiny(place))]
    marks = [(place, group) for place in places for group in place.groups if group.target]
    missed = [f"{place.title}: {_mark(group)}" for place, group in marks if not _met(group)]
    lines = []
    if behind:
        lines.append(f"**{_BEHIND}: {'; '.join(behind)}**")
    elif any(_pruned_with_tiny(place) for place in places):
        lines.append(
            f"Every pruned agent up to sparsity {TINY_UP_TO:g} is above the tiny dense agent of "
            "the same size."
        )
    if marks:
        lines.append(f"Pass marks met: {len(marks) - len(missed)} of {len(marks)}.")
    lines += [f"**Missed** {line}" for line in missed]
    return lines


def place_lines(place: Place) -> list[str]:
    """The same for one environment."""
    lines = []
    if behind := _behind_tiny(place, with_title=False):
        lines.append(f"**{_BEHIND}: {behind}**")
    for group in place.groups:
        if group.target is not None:
            word = "met" if _met(group) else "**missed**"
            lines.append(f"{_mark(group)}: {word}.")
    if (dense := place.find(DENSE)) is not None:
        best = _sparsest_near_dense(place, dense)
        if best is not None:
            lines.append(
                f"The sparsest agent within 3 % of the dense one: {best.label}, "
                f"{best.mean('kept'):,.0f} weights."
            )
    return lines


def _behind_tiny(place: Place, *, with_title: bool = True) -> str:
    """Which pruned agents are not above the tiny dense one; empty where all are."""
    parts = []
    for group, against in _pruned_with_tiny(place):
        if against.difference.value > 0:
            continue
        value = against.difference
        doubt = "" if value.high < 0 else ", the interval holds 0"
        gap = "equal" if value.value == 0 and value.low == value.high else f"{value}{doubt}"
        parts.append(f"{group.label} ({gap}; {against.seeds} seeds)")
    if not parts:
        return ""
    return (f"{place.title}: " if with_title else "") + ", ".join(parts)


def _pruned_with_tiny(place: Place) -> list[tuple[Group, Comparison]]:
    found = []
    for group in place.groups:
        is_pruned = group.method.name not in (DENSE, TINY) and group.sparsity <= TINY_UP_TO
        against = compare(group, place.find(TINY, group.sparsity)) if is_pruned else None
        if against is not None:
            found.append((group, against))
    return found


def _met(group: Group) -> bool:
    return group.target is not None and group.summary.value >= group.target


def _mark(group: Group) -> str:
    assert group.target is not None
    return (
        f"{group.label}: {group.summary} against the mark {format_number(group.target)} "
        f"({len(group.rows)} of {group.planned} seeds)"
    )


def _sparsest_near_dense(place: Place, dense: Group) -> Group | None:
    """The pruned agent with fewest weights whose IQM is within 3 % of dense's way from random."""
    span = dense.summary.value - place.random
    near = [
        group
        for group in place.groups
        if group.method.name not in (DENSE, TINY)
        and group.summary.value >= dense.summary.value - 0.03 * span
    ]
    return min(near, key=lambda group: group.mean("kept"), default=None) if span > 0 else None
