"""What came out, in a few sentences: pass marks, and pruned against tiny dense agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from sparseagent.report import (
    ENOUGH_SEEDS,
    Estimate,
    Outcome,
    format_number,
    holm,
    in_words,
    percent,
)
from sparseagent.study.claims import LEVEL
from sparseagent.study.results import (
    DENSE,
    TINY,
    TINY_UP_TO,
    Comparison,
    Group,
    Place,
    common_seeds,
    compare,
    share,
)

_NEAR = 0.97  # share of the dense return that an agent as good as dense keeps
#: What has too few seeds is said where its environment is.
_SAID_FIRST = (Outcome.BELOW, Outcome.UNDECIDED, Outcome.EQUAL)
_EVERY = (Outcome.ABOVE, Outcome.BELOW, Outcome.UNDECIDED, Outcome.FEW, Outcome.EQUAL)


class Mark(NamedTuple):
    """A pass mark, whether it is met, and what is to be said about that.

    With fewer than `ENOUGH_SEEDS` seeds it is open.
    """

    met: bool
    sure: bool
    open: bool
    text: str

    @property
    def verdict(self) -> str:
        """In one or a few words."""
        if self.open:
            return "open, so far " + ("met" if self.met else "missed")
        return ("met" if self.met else "**missed**") + ("" if self.sure else ", but not surely")


def first_lines(places: Sequence[Place]) -> list[str]:
    """The first lines of the report: where pruning does not pay, and which marks are missed."""
    lines = []
    compared = [against for place in places for _, against in _pruned_with_tiny(place)]
    found = Counter(against.outcome for against in compared)
    if found:
        counts = ", ".join(f"{found[o]} {_COUNTED[o]}" for o in _EVERY if found[o])
        headline = (
            f"**Of {found.total()} pruned agents up to sparsity {TINY_UP_TO:g}, against tiny dense "
            f"agents of the same size: {counts}.**{_corrected(compared)}"
        )
        details = [(place, _against_tiny(place, _SAID_FIRST)) for place in places]
        lines.append(headline + "".join(f"\n  - {p.title}: {d}." for p, d in details if d))
    marks = [(place, mark) for place in places for mark in marks_of(place)]
    judged = [(place, mark) for place, mark in marks if not mark.open]
    if judged:
        unsure = sum(mark.met and not mark.sure for _, mark in judged)
        doubt = f", {unsure} of them not surely" if unsure else ""
        lines.append(
            f"Pass marks met: {sum(mark.met for _, mark in judged)} of {len(judged)}{doubt}."
        )
    if waiting := [mark for _, mark in marks if mark.open]:
        met = sum(mark.met for mark in waiting)
        lines.append(
            f"Pass marks still open, with fewer than {ENOUGH_SEEDS} seeds: {len(waiting)}, {met} "
            "of them met so far."
        )
    lines += [f"**Missed** {place.title}: {mark.text}" for place, mark in judged if not mark.met]
    return lines


def _corrected(compared: Sequence[Comparison]) -> str:
    """How many comparisons stand when their number is taken into account."""
    told = (Outcome.ABOVE, Outcome.BELOW)
    if not any(against.outcome in told for against in compared):
        return ""
    p_values = holm([against.p for against in compared])
    left = Counter(
        against.outcome for against, p in zip(compared, p_values, strict=True) if p < LEVEL
    )
    counts = " and ".join(f"{left[outcome]} {outcome.value}" for outcome in told)
    return f" Corrected for {len(compared)} comparisons (Holm): {counts}."


def place_lines(place: Place) -> list[str]:
    """The same for one environment, and the sparsest agent that is as good as the dense one."""
    lines = []
    if found := _against_tiny(place, _EVERY):
        lines.append(f"Against the tiny dense agent of the same size: {found}.")
    lines += [f"{mark.text}: {mark.verdict}." for mark in marks_of(place)]
    best = min(_near_dense(place), key=lambda found: found[0].mean("kept"), default=None)
    if best is not None:
        group, kept, seeds = best
        lines.append(
            f"The sparsest agent that keeps {percent(_NEAR)} of dense: {group.label}, "
            f"{group.mean('kept'):,.0f} weights, {in_words(kept, seeds, percent)}; {_seeds(seeds)}."
        )
    return lines


def marks_of(place: Place) -> list[Mark]:
    """The pass marks of an environment, as far as there are runs to judge."""
    marks = []
    for group in place.groups:
        if group.target is None:
            continue
        if (least := group.target.value) is not None:
            marks.append(_mark(group, least, f"the mark {format_number(least)}"))
        for name, part in group.target.shares.items():
            other = place.find(name, group.sparsity) or place.find(name)
            if other is not None:
                reached = other.summary.value
                least = reached - (1.0 - part) * abs(reached)
                of = f"{100 * part:g} % of the return of {other.label}, {other.text}"
                marks.append(_mark(group, least, of))
    return marks


def _mark(group: Group, least: float, against: str) -> Mark:
    """Met with the IQM; surely with the whole interval, and enough seeds to have one."""
    found, seeds = group.summary, len(group.rows)
    met = found.value >= least
    clear = found.low >= least if met else found.high < least
    text = f"{group.label}: {group.text} against {against} ({seeds} of {group.planned} seeds)"
    return Mark(met, clear, seeds < ENOUGH_SEEDS, text)


#: Outcomes as a count of agents reads them.
_COUNTED = {
    Outcome.ABOVE: "above",
    Outcome.BELOW: "below",
    Outcome.UNDECIDED: "not told apart",
    Outcome.FEW: "with too few seeds to tell",
    Outcome.EQUAL: "without any difference",
}


def _against_tiny(place: Place, outcomes: Collection[Outcome]) -> str:
    """Pruned agents by how they stand against the tiny dense one; empty if there is none."""
    by_outcome: dict[Outcome, list[tuple[Group, Comparison]]] = {}
    for group, against in _pruned_with_tiny(place):
        by_outcome.setdefault(against.outcome, []).append((group, against))
    parts = []
    for outcome in outcomes:
        if found := by_outcome.get(outcome):
            listed = _named(outcome, found) or ", ".join(map(_gap, found))
            parts.append(f"{outcome.value}: {listed}")
    return "; ".join(parts)


def _gap(found: tuple[Group, Comparison]) -> str:
    group, against = found
    return f"{group.label} ({in_words(against.difference, against.seeds)}; {_seeds(against.seeds)})"


def _named(outcome: Outcome, found: Sequence[tuple[Group, Comparison]]) -> str:
    """Where nothing can be told, because of the task or of the seeds, names are enough."""
    if outcome not in (Outcome.EQUAL, Outcome.FEW):
        return ""
    levels: dict[str, list[str]] = {}
    for group, _ in found:
        levels.setdefault(group.method.label, []).append(f"{group.sparsity:g}")
    names = ", ".join(f"{label} {' and '.join(at)}" for label, at in levels.items())
    counts = [against.seeds for _, against in found]
    if outcome is Outcome.EQUAL:
        return f"{names} (at least {_seeds(min(counts))})"
    return f"{names} (at most {_seeds(max(counts))})"


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def _pruned_with_tiny(place: Place) -> Iterator[tuple[Group, Comparison]]:
    """Those that kept no more weights than they were allowed, with tiny dense agents to match."""
    for group in place.groups:
        is_pruned = group.method.prunes and group.sparsity <= TINY_UP_TO
        against = compare(group, place.find(TINY, group.sparsity)) if is_pruned else None
        if against is not None and against.same_size:
            yield group, against


def _near_dense(place: Place) -> Iterator[tuple[Group, Estimate, int]]:
    """Pruned agents that lose next to nothing of the dense one's return: share, common seeds."""
    dense = place.find(DENSE)
    for group in place.groups:
        if dense is None or not group.method.prunes:
            continue
        kept = share(group, dense, place.random)
        if kept is not None and kept.value >= _NEAR:
            yield group, kept, len(common_seeds(group, dense))
