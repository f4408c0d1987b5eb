"""The pattern of whole neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.checks import require_scores
from sparseagent.prune.joint import Split, count_kept, keep_neurons, largest_share


@dataclass(frozen=True)
class WholeNeurons:
    """Hidden neurons are kept or pruned whole: a row, and the columns of the layers that read it.

    All hidden layers keep the same share of their neurons, at least one each: the largest share
    whose weights fit into the budget. A neuron's score is the mean of the scores of its incoming
    and outgoing weights. Inputs and outputs stay, so an `allocate` is refused. `shrink` then
    makes the layers really smaller.

    The sparsity counts weights: with a share p of the neurons, a hidden layer between two others
    keeps p * p of its weights. Source: structured pruning as of Li et al., 2017; gradually, in deep
    RL, Su et al., 2024.
    """

    @property
    def allocates(self) -> bool:
        """True: all hidden layers keep the same share of their neurons."""
        return True

    @property
    def needs_neurons(self) -> bool:
        """True."""
        return True

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """Choose the rows to keep in a layer by itself, `[out, in]`, at most `kept` weights.

        Args:
            scores: `[out, in]`, higher = keep; `-inf` marks a weight that cannot be kept.
            kept: Most weights to keep, in [1, number of scores above `-inf`].

        Raises:
            ValueError: `kept` is out of range or less than a row, or a score is NaN.
        """
        require_scores(scores, kept)
        # A layer after it that reads everything makes the rows neurons; it has no weights.
        reader = scores.new_empty((0, scores.shape[0]))
        split: Split = lambda left: [kept]  # noqa: E731
        return self.masks([scores, reader], [None, 0], kept, split, split)[0]

    def masks(
        self,
        scores: Sequence[Tensor],
        sources: Sequence[int | None],
        kept: int,
        split: Split,
        end: Split,
    ) -> list[Tensor]:
        """Choose the neurons to keep; see `joint.JointPattern`.

        Raises:
            ValueError: One neuron in each layer is already too much, or no neuron can go.
        """
        share = largest_share(scores, sources, kept, 1e-9)
        chosen = keep_neurons(scores, sources, share)
        if count_kept(chosen) > kept:
            shapes = ", ".join(str(list(layer.shape)) for layer in scores)
            raise ValueError(
                f"kept: expected at least {count_kept(chosen)} weights, with one neuron in each "
                f"hidden layer of {shapes}, got {kept}"
            )
        return chosen
