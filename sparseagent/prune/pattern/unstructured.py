"""The unstructured pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sparseagent.prune.checks import require_scores


@dataclass(frozen=True)
class Unstructured:
    """Any weight may be zero: keep exactly the `kept` highest scores of the layer.

    Among equal scores the lowest row-major index is kept first.
    """

    grows: ClassVar[bool] = True

    def mask(self, scores: Tensor, kept: int) -> Tensor:
        """Choose the weights to keep.

        Args:
            scores: `[out, in]`, higher = keep; `-inf` marks a weight that cannot be kept.
            kept: How many weights to keep, in [1, number of scores above `-inf`].

        Returns:
            `[out, in]` bool mask with exactly `kept` True.

        Raises:
            ValueError: `kept` is out of range, or a score is NaN.
        """
        require_scores(scores, kept)
        order = torch.argsort(scores.flatten(), descending=True, stable=True)
        mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
        mask[order[:kept]] = True
        return mask.view(scores.shape)
