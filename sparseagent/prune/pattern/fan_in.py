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
        share = self._share(scores, sources, end)
        return Hybrid(1.0 - share, self.within).masks(scores, sources, kept, split, end)

    def _share(self, scores: Sequence[Tensor], sources: Sequence[int | None], end: Split) -> float:
        """The largest share of neurons, in (0, 1], that leaves enough inputs at the end."""
        widths = {scores[source].shape[0] for source in sources if source is not None}
        shares = sorted(
            {count / width for width in widths for count in range(1, width + 1)} | {1.0}
        )
        needed = [min(self.least, -(-layer.shape[1] // 2)) for layer in scores]
        budget = sum(end(scores))

        def starves(share: float) -> bool:
            masks = keep_neurons(scores, sources, share)
            full = [int(mask.sum()) for mask in masks]
            left = [s.masked_fill(~mask, -torch.inf) for s, mask in zip(scores, masks, strict=True)]
            counts = full if sum(full) <= budget else end(left)
            rows = [int(mask.any(dim=1).sum()) for mask in masks]
            return any(
                count < min(inputs * row, most)
                for count, inputs, row, most in zip(counts, needed, rows, full, strict=True)
            )

        # Most often all neurons can stay.
        if not starves(1.0):
            return 1.0
        return shares[max(0, bisect_left(shares, True, key=starves) - 1)]
