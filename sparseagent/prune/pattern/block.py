"""The block pattern."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparseagent.prune.checks import require_count, require_scores


@dataclass(frozen=True)
class Block:
    """Blocks of neighbouring weights are kept or pruned together.

    The grid of blocks starts at the first row and column. Where the layer's sizes are no multiples
    of the block's, the last blocks are smaller, and just as legal. A block's score is the mean of
    the scores of its weights, so that a small block at the edge competes at the same price per
    weight. Blocks are kept in the order of their scores, among equal ones the first in row-major
    order; one that does not fit into what is left of the count is passed over. So the number of
    kept weights is less than one block below the count, and the largest legal one where all blocks
    have one size.

    Weights that are pruned already, alone and not as blocks, stay pruned: the block's score is the
    mean of the others, and only these are kept.

    `Block(16, 1)` and `Block(4, 1)` are the blocks of the compiled policy: one observation at a
    time, and batches. Source: Narang, Undersander & Diamos, "Block-Sparse Recurrent Neural
    Networks", 2017, with the mean in place of the maximum.

    Attributes:
        rows: Consecutive outputs in a block, at least 1.
        columns: Consecutive inputs in a block, at least 1.
    """

    rows: int
    columns: int

    def __post_init__(self) -> None:
        require_count("rows", self.rows)
        require_count("columns", self.columns)

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """Choose the blocks to keep.

        Args:
            scores: `[out, in]`, higher = keep; `-inf` marks a weight that cannot be kept.
            kept: Most weights to keep, in [1, number of scores above `-inf`].

        Returns:
            `[out, in]` bool mask with at most `kept` True, see the class.

        Raises:
            ValueError: `kept` is out of range or smaller than the smallest block, or a score is
                NaN.
        """
        require_scores(scores, kept)
        alive = scores > -torch.inf
        sizes = self._sums(alive.to(torch.float64)).flatten()
        sums = self._sums(scores.detach().to(torch.float64).masked_fill(~alive, 0.0)).flatten()
        means = torch.where(sizes > 0, sums / sizes, -torch.inf)
        order = torch.argsort(means, descending=True, stable=True)
        chosen = torch.zeros(sizes.numel(), dtype=torch.bool, device=scores.device)
        candidates = order[sizes[order] > 0]
        left = float(kept)
        while len(candidates := candidates[sizes[candidates] <= left]):
            taken = candidates[torch.cumsum(sizes[candidates], 0) <= left]
            chosen[taken] = True
            left -= float(sizes[taken].sum())
            candidates = candidates[len(taken) :]
        if not bool(chosen.any()):
            raise ValueError(
                f"kept: expected at least {int(sizes[sizes > 0].min())} weights, the smallest "
                f"block of {self} in a layer of {list(scores.shape)}, got {kept}"
            )
        return self._spread(chosen, scores) & alive

    def pool(self, values: Tensor) -> Tensor:
        """The mean of each block, `[out, in]`; see `growable.GrowablePattern`."""
        values = values.to(torch.float64)
        return self._spread(self._sums(values) / self._sums(torch.ones_like(values)), values)

    def _spread(self, blocks: Tensor, like: Tensor) -> Tensor:
        """One value per block, row-major, at each of its weights, `[out, in]` as in `like`."""
        grid = blocks.view(-1, self._across(like))
        wide = grid.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)
        return wide[: like.shape[0], : like.shape[1]]

    def _across(self, scores: Tensor) -> int:
        return -(-scores.shape[1] // self.columns)

    def _sums(self, values: Tensor) -> Tensor:
        """Sums over the blocks, `[down, across]`."""
        out, into = values.shape
        padded = pad(values, (0, -into % self.columns, 0, -out % self.rows))
        blocks = padded.view(-1, self.rows, self._across(values), self.columns)
        return blocks.sum(dim=(1, 3))
