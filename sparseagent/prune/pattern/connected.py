"""The connected pattern: weights that lie on no path from an input to an output go first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparseagent.prune.connectivity import fed, on_paths, read
from sparseagent.prune.joint import Split, count_kept
from sparseagent.prune.pattern.unstructured import Unstructured

_SINGLE = Unstructured()
_ATTEMPTS = 16  # choices, of which the best one is taken


@dataclass(frozen=True)
class Connected:
    """The weights of highest score that are of use, whatever their scores say of the others.

    At high sparsity many kept weights lie on no path from an input to an output: those of a neuron
    that lost its last input or its last reader. They count as weights and do nothing. Here the
    choice of single weights is looked at as a whole: weights that reach no output, then those that
    no input reaches, are put behind all others of their layer, and the choice is made again, until
    every kept weight is on a path. What a layer keeps in all stays as the allocation says. A neuron
    that is read only by layers outside the part, such as SAC's dense head for the standard
    deviation, counts as not read.

    Source: effective sparsity, Vysogorets and Kempe, "Connectivity Matters: Neural Network Pruning
    Through the Lens of Effective Sparsity", 2023. The choice in rounds is this library's own.
    """

    @property
    def allocates(self) -> bool:
        """False: the allocation splits the budget."""
        return False

    @property
    def needs_neurons(self) -> bool:
        """True."""
        return True

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """A layer by itself has no paths: that of `Unstructured`, `[out, in]`."""
        return _SINGLE.mask(scores, kept)

    def masks(
        self,
        scores: Sequence[Tensor],
        sources: Sequence[int | None],
        kept: int,
        split: Split,
        end: Split,
    ) -> list[Tensor]:
        """Choose weights on paths; see `joint.JointPattern`."""
        counts = split(scores)
        ranked = [layer.double() for layer in scores]
        best: list[Tensor] = []
        most = -1
        for attempt in range(_ATTEMPTS):
            chosen = [_SINGLE.mask(r, n) for r, n in zip(ranked, counts, strict=True)]
            useful = count_kept(on_paths(chosen, sources))
            if useful > most:
                best, most = chosen, useful
            if useful == count_kept(chosen):
                break
            # In turns: both at once would cut a neuron that lacks its inputs from its readers, and
            # give the room to another one that lacks them.
            live = (fed if attempt % 2 else read)(chosen, sources)
            useless = [c & ~alive for c, alive in zip(chosen, live, strict=True)]
            ranked = [_behind(r, u) for r, u in zip(ranked, useless, strict=True)]
        return best


def _behind(scores: Tensor, useless: Tensor) -> Tensor:
    """The scores `[out, in]` with those of `useless` below all others, in their own order."""
    if not bool(useless.any()):
        return scores
    finite = scores[scores > -torch.inf]
    return torch.where(useless, scores - (finite.max() - finite.min()) - 1.0, scores)
