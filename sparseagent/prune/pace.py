"""When the masks change, and how far: the schedule read against the position of a run."""

from __future__ import annotations

from dataclasses import dataclass

from sparseagent.prune.checks import require_sparsity
from sparseagent.prune.method import Method
from sparseagent.prune.saving import Position
from sparseagent.prune.track import listens

_CHANGES = 1000
# Weights that grow start at zero, and need time before they are judged by their size.
_EXCHANGES = 100


@dataclass(frozen=True, eq=False)
class Pace:
    """The pace of one sparsifier.

    Attributes:
        method: Its schedule and its drop.
        every: Gradient updates between two changes, `None` for a share of the run.
        final: Sparsity at the end of the schedule.
    """

    method: Method
    every: int | None
    final: float

    def move(self, position: Position, progress: float) -> None:
        """Set the progress; with a listening schedule it may be earned or not."""
        schedule = self.method.schedule
        if listens(schedule):
            position.track = schedule.pass_by(position.track, position.progress, progress)
        position.progress = progress

    def requested(self, position: Position, progress: float) -> float:
        """The sparsity that the schedule asks for.

        Raises:
            ValueError: It is not in [0, 1).
        """
        used = position.track.earned if listens(self.method.schedule) else progress
        sparsity = self.method.schedule(used)
        require_sparsity(f"schedule({used})", sparsity)
        return min(sparsity, self.final)

    def share(self, position: Position, progress: float) -> float:
        """What growth is to exchange: nothing before the first masks."""
        return self.method.share(progress) if position.reached else 0.0

    def is_due(self, position: Position, before: float, checked: int) -> bool:
        """Whether it is time to change the masks.

        Args:
            position: The present one.
            before: Progress when the masks were last looked at.
            checked: Updates at that time.
        """
        progress = position.progress
        short = position.reached < self.final
        if position.frozen or not (short or self.method.share(progress)):
            return False
        if short and self.requested(position, progress) >= self.final:
            return True
        if self.every is not None:
            return position.updates // self.every > checked // self.every
        changes = _CHANGES if self.method.grow is None else _EXCHANGES
        return int(progress * changes) > int(before * changes)
