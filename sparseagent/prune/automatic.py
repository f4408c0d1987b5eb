"""The automatic schedule: prune while the agent can bear it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sparseagent.prune.checks import require_count, require_fraction, require_ramp, require_sparsity
from sparseagent.prune.schedule import Geometric
from sparseagent.prune.track import Track


@dataclass(frozen=True)
class Automatic:
    """No final sparsity: the ramp goes on while the agent does well, and stands still while not.

    The loop reports a signal, higher = better, such as the return of each training episode
    (`Sparsifier.callback` does this for Stable-Baselines3) or the negative loss of each update
    (`Sparsifier.report`). After every `average` reports their mean is judged: within `tolerance` of
    the best mean so far, as a share of the way from the worst to the best, the density may fall by
    the share `step` until the next judgement; otherwise pruning waits. What is pruned stays pruned,
    so the steps are small. Without reports nothing is pruned.

    The density falls geometrically in earned progress: to 1 - `limit` if pruning never waits, and
    to less where it does. As a schedule of the sparsifier this maps *earned* progress to sparsity.

    Source: the idea, and keeping or pruning by a signal of training, are those of EauDeQN (Vincent
    et al., "Eau De Q-Network: Adaptive Distillation of Neural Networks in Deep Reinforcement
    Learning", 2025), which trains several Q-networks of different sparsity beside each other and
    keeps the one of lowest loss. This is one network, and works for every algorithm.

    Attributes:
        limit: Sparsity that is never exceeded, in (0, 1).
        start: Progress before which nothing is pruned, in [0, 1).
        stop: Progress from which the masks are final, in (start, 1].
        tolerance: Loss of signal that pruning bears, in [0, 1].
        step: Share of the remaining weights that may go between two judgements, in (0, 1).
        average: Reports to a judgement, at least 1.
    """

    limit: float = 0.98
    start: float = 0.2
    stop: float = 0.8
    tolerance: float = 0.05
    step: float = 0.3
    average: int = 10

    def __post_init__(self) -> None:
        require_sparsity("limit", self.limit)
        require_ramp(self.start, self.stop)
        require_fraction("tolerance", self.tolerance)
        require_sparsity("step", self.step)
        require_count("average", self.average)
        for name in ("limit", "step"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")

    @property
    def always_arrives(self) -> bool:
        """False: `limit` is reached only where pruning never waits."""
        return False

    def __call__(self, progress: float) -> float:
        """Sparsity after `progress`, all of which was earned."""
        return Geometric(self.limit, self.start, self.stop)(progress)

    def pass_by(self, track: Track, before: float, now: float) -> Track:
        """Where the run stands after its progress went from `before` to `now`.

        Progress before `start` is free. Progress after `stop` earns nothing.
        """
        spent = max(0.0, min(now, self.stop) - before)
        return replace(track, earned=min(track.earned + spent, max(track.allowed, self.start)))

    def hear(self, track: Track, signal: float) -> Track:
        """Where the run stands after one more report."""
        count, total = track.count + 1, track.total + signal
        if count < self.average:
            return replace(track, count=count, total=total)
        mean = total / count
        worst = mean if track.worst is None else min(track.worst, mean)
        best = mean if track.best is None else max(track.best, mean)
        well = mean >= best - self.tolerance * (best - worst)
        allowed = max(track.earned, self.start) + self._stride if well else track.earned
        return Track(track.earned, min(allowed, 1.0), worst, best)

    @property
    def _stride(self) -> float:
        """Progress over which the density falls by the share `step`."""
        share = math.log1p(-self.step) / math.log1p(-self.limit)
        return share * (self.stop - self.start)
