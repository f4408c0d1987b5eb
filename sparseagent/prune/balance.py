"""Equally many weights in every group of consecutive inputs: what N:M and lane-balanced share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparseagent.prune.checks import require_scores


@dataclass(frozen=True)
class Balance:
    """Masks with one number of kept weights per group, the level.

    A group is `size` consecutive inputs of one row. The last group may have w < size inputs, of
    which level n keeps max(1, floor(n * w / size)). Groups keep their highest scores, ties to the
    first input; a group with fewer scores above `-inf` keeps those. Levels nest: whatever the
    scores, a lower level of what a higher one has kept is legal.

    Attributes:
        pattern: How messages name the pattern.
        size: Inputs of a group.
        fewest: Lowest level, in [1, size].
    """

    pattern: str
    size: int
    fewest: int

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """The mask `[out, in]` of the highest level that keeps no more than `kept`.

        Raises:
            ValueError: `kept` is out of range, or the lowest level keeps more.
        """
        require_scores(scores, kept)
        groups = self._groups(scores)
        order = torch.argsort(groups, dim=2, descending=True, stable=True)
        rank = torch.empty_like(order)
        places = torch.arange(self.size, device=scores.device).expand_as(order)
        rank.scatter_(2, order, places)
        quota = self._quota(scores, self._level([scores], kept))
        mask = (rank < quota[None, :, None]) & (groups > -torch.inf)
        return mask.flatten(1)[:, : scores.shape[1]]

    def counts(self, scores: Sequence[Tensor], kept: int) -> list[int]:
        """Weights per layer at the highest level that keeps no more than `kept` in all.

        Raises:
            ValueError: The lowest level keeps more.
        """
        level = self._level(scores, kept)
        return [self.count([layer], level) for layer in scores]

    def count(self, scores: Sequence[Tensor], level: int) -> int:
        """How many weights a level keeps in layers of these scores, `[out, in]` each."""
        total = 0
        for layer in scores:
            alive = (self._groups(layer) > -torch.inf).sum(dim=2)
            total += int(torch.minimum(alive, self._quota(layer, level)).sum())
        return total

    def _level(self, scores: Sequence[Tensor], kept: int) -> int:
        low, high = self.fewest, self.size
        if (least := self.count(scores, low)) > kept:
            weights = sum(layer.numel() for layer in scores)
            shapes = ", ".join(str(list(layer.shape)) for layer in scores)
            raise ValueError(
                f"kept: expected at least {least} of the {weights} weights of {shapes} (sparsity "
                f"{1 - least / weights:.4f}), where {self.pattern} keeps {low} of {self.size} "
                f"inputs, got {kept}"
            )
        higher = range(low + 1, high + 1)
        return low + bisect_right(higher, kept, key=lambda level: self.count(scores, level))

    def _groups(self, scores: Tensor) -> Tensor:
        """The scores as `[out, groups, size]`, with `-inf` where the last group ends early."""
        padded = pad(scores.detach(), (0, -scores.shape[1] % self.size), value=-torch.inf)
        return padded.view(scores.shape[0], -1, self.size)

    def _quota(self, scores: Tensor, level: int) -> Tensor:
        """Kept weights of each group in a row, `[groups]`."""
        starts = range(0, scores.shape[1], self.size)
        widths = [min(self.size, scores.shape[1] - start) for start in starts]
        quota = [max(1, level * width // self.size) for width in widths]
        return torch.tensor(quota, device=scores.device)
