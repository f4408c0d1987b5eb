"""The lane-balanced pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.balance import Balance
from sparseagent.prune.checks import require_count

_GROUP = 32


@dataclass(frozen=True)
class LaneBalanced:
    """Exactly `n` of every 32 consecutive inputs of a neuron are kept.

    The compiled policy looks inputs up in groups of 32 and works on many outputs in lockstep, one
    in each lane. Where all of them have equally many weights in each group, no lane ever waits.

    A last group of w < 32 inputs keeps max(1, floor(n * w / 32)); a group with fewer weights that
    are not pruned yet keeps those.

    Without `n` each layer gets the largest number per group that its share of the budget allows, in
    every change of the masks: any sparsity up to about 31/32 and any allocation do, and the final
    sparsity is that of the schedule or a little more, as whole numbers per group go. With `n` the
    density follows from it, in every layer: the final sparsity of the schedule has to be the one
    that `n` gives, or less by at most 0.005 (an error says which), and an `allocate` is refused.
    During a ramp the number per group falls from 32 to `n`.

    Attributes:
        n: Kept inputs of a group, in [1, 32], or `None`.
    """

    n: int | None = None

    def __post_init__(self) -> None:
        if self.n is not None:
            require_count("n", self.n)
            if self.n > _GROUP:
                raise ValueError(f"n: expected 1 to {_GROUP} kept inputs of a group, got {self.n}")

    @property
    def fixes_density(self) -> bool:
        """Whether `n` says how many weights a layer keeps."""
        return self.n is not None

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """Choose the weights to keep: the highest scores of each group, ties to the first input.

        Args:
            scores: `[out, in]`, higher = keep; `-inf` marks a weight that cannot be kept.
            kept: Most weights to keep, in [1, number of scores above `-inf`].

        Returns:
            `[out, in]` bool mask, with the largest number per group, from `n` (or 1) to 32, that
            keeps no more than `kept`.

        Raises:
            ValueError: `kept` is out of range or less than `n` (or 1) per group, or a score is
                NaN.
        """
        return self._balance().mask(scores, kept)

    def counts(self, scores: Sequence[Tensor], kept: int) -> list[int]:
        """Weights that each layer keeps; see `fixed_density.FixedDensity`."""
        return self._balance().counts(scores, kept)

    def final_count(self, scores: Sequence[Tensor]) -> int:
        """Weights kept at the end; see `fixed_density.FixedDensity`."""
        return self._balance().count(scores, self._balance().fewest)

    def pool(self, values: Tensor) -> Tensor:
        """The values themselves, `[out, in]`; see `growable.GrowablePattern`."""
        return values

    def _balance(self) -> Balance:
        return Balance(str(self), _GROUP, self.n or 1)
