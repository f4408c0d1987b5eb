"""The N:M pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparseagent.prune.balance import Balance
from sparseagent.prune.checks import require_count


@dataclass(frozen=True)
class NM:
    """Exactly `n` of every `m` consecutive inputs of a neuron are kept: row-wise N:M.

    The sparsity follows: 1 - n/m in every layer. So the final sparsity of the schedule has to be
    the one that `n` gives, or less by at most 0.005 (an error says which), and an `allocate` is
    refused. During a ramp the number per group falls from `m` to `n`. A last group of w < m inputs
    keeps max(1, floor(n * w / m)); a group with fewer weights that are not pruned yet keeps those.

    Source: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From
    Scratch", 2021; row-wise N:M in deep RL: RNM-TD3, 2026, where 2:4 and 1:4 beat dense agents.

    Attributes:
        n: Kept inputs of a group, in [1, m].
        m: Inputs of a group, at least 1.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        require_count("m", self.m)
        require_count("n", self.n)
        if self.n > self.m:
            raise ValueError(f"n: expected 1 to m = {self.m} kept inputs of a group, got {self.n}")

    @property
    def fixes_density(self) -> bool:
        """True: `n` says how many weights a layer keeps."""
        return True

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """Choose the weights to keep: the highest scores of each group, ties to the first input.

        Args:
            scores: `[out, in]`, higher = keep; `-inf` marks a weight that cannot be kept.
            kept: Most weights to keep, in [1, number of scores above `-inf`].

        Returns:
            `[out, in]` bool mask, with the largest number per group, from `n` to `m`, that keeps
            no more than `kept`.

        Raises:
            ValueError: `kept` is out of range or less than `n` per group, or a score is NaN.
        """
        return self._balance().mask(scores, kept)

    def counts(self, scores: Sequence[Tensor], kept: int) -> list[int]:
        """Weights that each layer keeps; see `fixed_density.FixedDensity`."""
        return self._balance().counts(scores, kept)

    def final_count(self, scores: Sequence[Tensor]) -> int:
        """Weights kept at the end; see `fixed_density.FixedDensity`."""
        return self._balance().count(scores, self.n)

    def pool(self, values: Tensor) -> Tensor:
        """The values themselves, `[out, in]`; see `growable.GrowablePattern`."""
        return values

    def _balance(self) -> Balance:
        return Balance(str(self), self.m, self.n)
