"""The schedule that waits until the return has risen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparseagent.prune.checks import require_count, require_fraction, require_ramp, require_sparsity
from sparseagent.prune.schedule import Cubic
from sparseagent.prune.track import Track


@dataclass(frozen=True)
class Warmup:
    """A cubic ramp after a dense warm-up that lasts until the return has risen.

    Before an agent has learned anything its weights say nothing about what matters, and what a ramp
    then removes does not come back. So the loop reports a signal, higher = better, such as the
    return of each training episode (`Sparsifier.callback` does this for Stable-Baselines3). The
    return has risen where one of the last `average` reports beats one of the first `average` with
    probability `rise` or more, ties counting one half: the probability of improvement, which has
    neither units nor outliers. From there on, or from `latest` where it never rises, the ramp of
    `Cubic` runs so as to end at `stop`.

    As a schedule of the sparsifier this maps *earned* progress to sparsity.

    Source: the ramp is that of Zhu & Gupta, "To prune, or not to prune", 2017; the comparison that
    of Mann & Whitney, 1947, as read by Agarwal et al., "Deep Reinforcement Learning at the Edge of
    the Statistical Precipice", 2021. That a ramp waits for it is this project's own.

    Attributes:
        to: Final sparsity, in [0, 1).
        start: Progress before which nothing is pruned, in [0, 1).
        stop: Progress from which the sparsity is exactly `to`, in (start, 1].
        latest: Progress from which the ramp runs even if the return never rose, in [start, stop);
            `None` for half way from `start` to `stop`.
        rise: Probability of improvement that counts as risen, in (0.5, 1].
        average: Reports on each side of the comparison, at least 2.
    """

    to: float
    start: float = 0.0
    stop: float = 0.8
    latest: float | None = None
    rise: float = 0.9
    average: int = 20

    def __post_init__(self) -> None:
        require_sparsity("to", self.to)
        require_ramp(self.start, self.stop)
        require_fraction("rise", self.rise)
        require_count("average", self.average)
        if self.latest is not None and not self.start <= self.latest < self.stop:
            raise ValueError(
                f"latest: expected a progress in [{self.start}, {self.stop}), got {self.latest}"
            )
        if self.rise <= 0.5:
            raise ValueError(f"rise: expected more than 0.5, which is no rise, got {self.rise}")
        if self.average < 2:
            raise ValueError(f"average: expected at least 2, got {self.average}")

    @property
    def always_arrives(self) -> bool:
        """True."""
        return True

    def __call__(self, progress: float) -> float:
        """Sparsity after `progress`, all of which was earned."""
        return Cubic(self.to, self.start, self.stop)(progress)

    def pass_by(self, track: Track, before: float, now: float) -> Track:
        """Where the run stands after its progress went from `before` to `now`.

        Progress up to `start` is free; after that nothing is earned until the ramp begins, and from
        then on as much faster as makes it end at `stop`.
        """
        if now >= self.stop:
            return replace(track, earned=now)
        begun = before if track.risen else max(before, self._latest)
        if now <= max(begun, self.start):
            return replace(track, earned=max(track.earned, min(now, self.start)))
        begun, earned = max(begun, self.start), max(track.earned, self.start)
        share = (now - begun) / (self.stop - begun)
        return replace(track, earned=earned + share * (self.stop - earned))

    def hear(self, track: Track, signal: float) -> Track:
        """Where the run stands after one more report."""
        if track.risen:
            return track
        if len(track.first) < self.average:
            return replace(track, first=(*track.first, signal))
        latest = (*track.latest, signal)[-self.average :]
        if len(latest) < self.average:
            return replace(track, latest=latest)
        chance = _chance_of_more(latest, track.first)
        worst = chance if track.worst is None else min(track.worst, chance)
        best = chance if track.best is None else max(track.best, chance)
        if chance >= self.rise:
            return Track(track.earned, worst=worst, best=best, risen=True)
        return replace(track, latest=latest, worst=worst, best=best)

    @property
    def _latest(self) -> float:
        return 0.5 * (self.start + self.stop) if self.latest is None else self.latest


def _chance_of_more(values: tuple[float, ...], others: tuple[float, ...]) -> float:
    """Probability that one of the values is above one of the others, ties counting one half."""
    wins = sum((value > other) + 0.5 * (value == other) for value in values for other in others)
    return wins / (len(values) * len(others))
