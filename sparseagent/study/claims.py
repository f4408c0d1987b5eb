"""What a study is to show: methods against baselines, corrected for their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sparseagent.report import ENOUGH_SEEDS, Outcome, holm, in_words, markdown_table
from sparseagent.study.config import Study
from sparseagent.study.results import Comparison, Group, Place, compare

#: What methods with a mark are compared with where a study's file names no comparisons.
BASELINES = ("tiny", "tiny_latency", "dense")
#: Probability of a single false claim among all that a study makes.
LEVEL = 0.05

_HEADER = ("", "", "against", "difference (IQM)", "seeds", "p", "p (Holm)", "")


class Claim(NamedTuple):
    """One comparison of a family.

    Attributes:
        place: the environment.
        group: the method at a sparsity.
        baseline: what it is compared with.
        found: the comparison.
        p: its p-value, corrected for the number of the family.
    """

    place: Place
    group: Group
    baseline: Group
    found: Comparison
    p: float

    @property
    def verdict(self) -> str:
        """In one or a few words."""
        if self.found.seeds < ENOUGH_SEEDS:
            return "open"
        if self.found.outcome in (Outcome.ABOVE, Outcome.BELOW) and self.p >= LEVEL:
            return f"{self.found.outcome.value}, but not after correction"
        return self.found.outcome.value


def claims_of(study: Study, places: Sequence[Place]) -> list[Claim]:
    """The family of comparisons of a study, as far as there are runs."""
    found = [
        (place, group, other, comparison)
        for place, group, other, comparison in _comparisons(study, places)
        if other.method.name in _family(study, group)
    ]
    corrected = holm([comparison.p for *_, comparison in found])
    return [Claim(*one, p) for one, p in zip(found, corrected, strict=True)]


def claims_section(study: Study, places: Sequence[Place]) -> list[str]:
    """The family as a section of the report; nothing where there is none."""
    claims = claims_of(study, places)
    if not claims:
        return []
    rows = [
        [
            *_cells(claim.place, claim.group, claim.baseline, claim.found),
            f"{claim.p:.3f}",
            claim.verdict,
        ]
        for claim in claims
    ]
    align = ["left"] * 3 + ["right"] * 4 + ["left"]
    family = {(claim.group.at, claim.baseline.at, claim.place.title) for claim in claims}
    others = [
        _cells(place, group, other, comparison)
        for place, group, other, comparison in _comparisons(study, places)
        if (group.at, other.at, place.title) not in family
    ]
    return [
        f"## Methods with a mark against the baselines: {study.name}\n",
        f"One family of {len(claims)} comparisons. *p*: over seeds, by flipping signs of the "
        "paired differences; *p (Holm)*: corrected for all of them, so that one false claim or "
        f"more has probability {LEVEL:g}. *above* and *below* need the 95 % interval and a "
        f"corrected p below {LEVEL:g}, which five seeds, whose least p is 0.06, cannot reach; "
        f"*open*: fewer than {ENOUGH_SEEDS} seeds.\n",
        markdown_table(_HEADER, rows, align=align),  # type: ignore[arg-type]
        *(
            [
                "Beside the family, against the other dense agents; no claim rests on these.\n",
                markdown_table(_HEADER[:-2], others, align=align[:-2]),  # type: ignore[arg-type]
            ]
            if others
            else []
        ),
    ]


def _comparisons(
    study: Study, places: Sequence[Place]
) -> Iterator[tuple[Place, Group, Group, Comparison]]:
    """What has a family, against its baselines and all agents that are not pruned."""
    for place in places:
        if not any(cell.study == study.name for cell in place.cells):
            continue
        for group in place.groups:
            family = _family(study, group)
            for other in place.groups if family else ():
                fits = other.sparsity in (0.0, group.sparsity) and other.at != group.at
                wanted = other.method.name in family or not other.method.prunes
                comparison = compare(group, other) if fits and wanted else None
                if comparison is not None:
                    yield place, group, other, comparison


def _cells(place: Place, group: Group, other: Group, found: Comparison) -> list[str]:
    return [
        place.title,
        group.label,
        other.label,
        in_words(found.difference, found.seeds),
        f"{found.seeds} of {group.planned}",
        f"{found.p:.3f}",
    ]


def _family(study: Study, group: Group) -> tuple[str, ...]:
    """The baselines of a method: those the file names; without, the usual for one with a mark."""
    if study.comparisons:
        return study.comparisons.get(group.method.name, ())
    return BASELINES if group.target is not None else ()
