"""Schedules that go by reports of how well the agent does, and where a run with one stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeGuard


@dataclass
class Track:
    """What a listening schedule has judged so far, kept and saved by the sparsifier.

    Attributes:
        earned: Progress that the run was allowed to use for pruning, in [0, 1].
        allowed: How far `earned` may go before the next judgement; for `Automatic`.
        worst: Lowest judged signal, `None` before the first.
        best: Highest judged signal, `None` before the first.
        total: Sum of the signals since the last judgement.
        count: Their number.
        first: The first signals of the run, while `Warmup` compares others with them.
        latest: The latest ones.
        risen: Whether the signal has risen; for `Warmup`.
    """

    earned: float = 0.0
    allowed: float = 0.0
    worst: float | None = None
    best: float | None = None
    total: float = 0.0
    count: int = 0
    first: tuple[float, ...] = ()
    latest: tuple[float, ...] = ()
    risen: bool = False


class Listener(Protocol):
    """A schedule that is told how well the agent does, and maps *earned* progress to sparsity."""

    @property
    def stop(self) -> float:
        """Progress from which the masks are final."""
        ...

    @property
    def always_arrives(self) -> bool:
        """Whether the sparsity at `stop` is the final one, whatever was reported."""
        ...

    def __call__(self, progress: float, /) -> float:
        """Sparsity after `progress`, all of which was earned."""
        ...

    def pass_by(self, track: Track, before: float, now: float) -> Track:
        """Where the run stands after its progress went from `before` to `now`."""
        ...

    def hear(self, track: Track, signal: float) -> Track:
        """Where the run stands after one more report, higher = better."""
        ...


def listens(schedule: object) -> TypeGuard[Listener]:
    """Whether a schedule goes by reports."""
    return callable(getattr(schedule, "hear", None))
