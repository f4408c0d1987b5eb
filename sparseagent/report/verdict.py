"""What few seeds let one say: values in words, and one agent against another."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from sparseagent.report.intervals import Estimate
from sparseagent.report.table import format_number

__all__ = ["ENOUGH_SEEDS", "Outcome", "in_words", "outcome_of", "percent"]

#: From so many seeds on a bootstrap interval is called one. With fewer it is far too narrow: of
#: "95 %" it covers 51 % with two seeds, 77 % with three and 86 % with four (normal values).
ENOUGH_SEEDS = 5


class Outcome(Enum):
    """What may be said of one agent against another."""

    ABOVE = "above"
    BELOW = "below"
    EQUAL = "no difference at all"
    UNDECIDED = "not told apart"
    FEW = "too few seeds to tell"


def outcome_of(difference: Estimate, seeds: int) -> Outcome:
    """What the interval of a difference over seeds says; with few of them it says nothing."""
    if difference.low == difference.high == 0:
        return Outcome.EQUAL
    if seeds < ENOUGH_SEEDS:
        return Outcome.FEW
    if difference.excludes(0):
        return Outcome.ABOVE if difference.low > 0 else Outcome.BELOW
    return Outcome.UNDECIDED


def in_words(found: Estimate, seeds: int, write: Callable[[float], str] = format_number) -> str:
    """A value with its interval, or with the range of its resamples where seeds are too few.

    One seed alone has neither, for nothing was redrawn.
    """
    value, low, high = (write(x) for x in (found.value, found.low, found.high))
    if seeds == 1:
        return value
    return f"{value} [{low}, {high}]" if seeds >= ENOUGH_SEEDS else f"{value} ({low} to {high})"


def percent(share: float) -> str:
    """A share for a reader."""
    return f"{100 * share:.0f} %"
