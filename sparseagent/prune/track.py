"""Where a run with an automatic schedule stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Track:
    """What `Automatic` has judged so far, kept and saved by the sparsifier.

    Attributes:
        earned: Progress that the run was allowed to use for pruning, in [0, 1].
        allowed: How far `earned` may go before the next judgement.
        worst: Lowest judged signal, `None` before the first.
        best: Highest judged signal, `None` before the first.
        total: Sum of the signals since the last judgement.
        count: Their number.
    """

    earned: float = 0.0
    allowed: float = 0.0
    worst: float | None = None
    best: float | None = None
    total: float = 0.0
    count: int = 0
