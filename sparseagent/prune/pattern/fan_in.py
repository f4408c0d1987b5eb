"""The pattern that leaves every neuron enough inputs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparseagent.prune.checks import require_count
from sparseagent.prune.joint import Split, keep_neurons
from sparseagent.prune.pattern.hybrid import Hybrid
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.pattern.unstructured import Unstructured

#: Inputs that a neuron is to read on average, at least.
FAN_IN = 4
_UNSTRUCTURED = Unstructured()


@dataclass(frozen=True)
class FanIn:
    """Single weights, but neurons first where too few inputs would be left for each.

    A neuron that reads one or two inputs can hardly combine anything. So as few neurons go as leave
    those that stay `least` inputs each on average, in every layer, when the schedule is at its end;
    all hidden layers lose the same share. They go first, as in `Hybrid`, because a weight that is
    pruned does not come back. Where there are enough weights for all neurons none goes, and this is
    `within` alone. Of a layer with few inputs half of them are enough.

    Source: ablating neurons that lose their fan-in, Lasby et al., "Dynamic Sparse Training with
    Structured Sparsity", 2024 (SRigL), there decided while it trains.

    Attributes:
        least: Inputs of a neuron on average, or half of the inputs there are; at least 1.
        within: Which shapes of zeros are legal among the weights; as in `Hybrid`.
    """

    least: int = FAN_IN
    within: Pattern = _UNSTRUCTURED

    def __post_init__(self) -> None:
        require_count("least", self.least)
        Hybrid(0.0, self.within)  # refuses what cannot stand within

    @property
    def allocates(self) -> bool:
        """False: the allocation splits the budget."""
        return False

    @property
    def needs_neurons(self) -> bool:
        """False: where no neuron can go, weights go alone."""
        return False

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """A layer by itself has no neurons between layers: the mask of `within`, `[out, in]`."""
        return self.within.mask(scores, kept)

    def masks(
        self,
        scores: Sequence[Tensor],
        sources: Sequence[int | None],
        kept: int,
        split: Split,
        end: Split,
    ) -> list[Tensor]:
        """Choose neurons where some must go, then weights; see `joint.JointPattern`."""
        if not self._starves(scores, end):  # most often all neurons can stay
            counts = split(scores)
            return [self.within.mask(s, count) for s, count in zip(scores, counts, strict=True)]
        share = self._share(scores, sources, end)
        return Hybrid(1.0 - share, self.within).masks(scores, sources, kept, split, end)

    def _share(self, scores: Sequence[Tensor], sources: Sequence[int | None], end: Split) -> float:
        """The largest share of neurons, in (0, 1], that leaves enough inputs at the end."""

        def starves(share: float) -> bool:
            masks = keep_neurons(scores, sources, share)
            left = [s.masked_fill(~mask, -torch.inf) for s, mask in zip(scores, masks, strict=True)]
            return self._starves(left, end, budget)

        budget = sum(end(scores))
        widths = {scores[source].shape[0] for source in sources if source is not None}
        shares = sorted(
            {count / width for width in widths for count in range(1, width + 1)} | {1.0}
        )
        return shares[max(0, bisect_left(shares, True, key=starves) - 1)]

    def _starves(self, scores: Sequence[Tensor], end: Split, budget: int | None = None) -> bool:
        """Whether a layer would end with too few weights for the neurons that it has.

        Args:
            scores: Per layer `[out, in]`, `-inf` = pruned.
            end: The counts of the layers at the end of the schedule.
            budget: Their sum, where there may be fewer weights left than that.
        """
        alive = [layer > -torch.inf for layer in scores]
        full = [int(mask.sum()) for mask in alive]
        counts = full if budget is not None and sum(full) <= budget else end(scores)
        rows = [int(mask.any(dim=1).sum()) for mask in alive]
        needed = [min(self.least, -(-mask.shape[1] // 2)) for mask in alive]
        return any(
            count < min(inputs * row, most)
            for count, inputs, row, most in zip(counts, needed, rows, full, strict=True)
        )
