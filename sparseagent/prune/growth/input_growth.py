"""Growth of inputs: exchange in the layers that read the observation, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparseagent.prune.checks import require_method
from sparseagent.prune.growth.protocol import Growth
from sparseagent.prune.inputs import by_column
from sparseagent.prune.layer import Layer


@dataclass(frozen=True)
class InputGrowth:
    """Bring inputs back: weights are exchanged in layers that read the observation alone.

    What a ramp took before the agent had learned what an input is for can return so. Other layers
    are pruned as without growth.

    Whole inputs come back with all their weights, the one first whose column has the largest root
    mean square of what the inner growth says; beside `InputNorm`, for which a column counts as one,
    a single weight that grew would be too little to stay. Single weights suit a score of single
    weights, such as `Magnitude`.

    Source: of single weights at random, in input layers alone, Grooten et al., "Automatic Noise
    Filtering with Dynamic Sparse Training in Deep Reinforcement Learning", 2023.

    Attributes:
        inner: What ranks weights: `RandomGrowth(seed)` (SET) or `GradientGrowth()` (RigL).
        whole: Whether inputs come back whole.
    """

    inner: Growth
    whole: bool = True

    def __post_init__(self) -> None:
        require_method("inner", self.inner, "growth")

    @property
    def needs_inputs(self) -> bool:
        """Asks a `Sparsifier` to find the layers that read the observation."""
        return True

    @property
    def average(self) -> int | None:
        """That of the inner growth."""
        found: int | None = getattr(self.inner, "average", None)
        return found

    @property
    def observe(self) -> Callable[[Layer], Tensor] | None:
        """That of the inner growth; `None` where it has to see no updates."""
        found: Callable[[Layer], Tensor] | None = getattr(self.inner, "observe", None)
        return found

    def exchanges(self, layer: Layer) -> bool:
        """Whether weights of a layer are exchanged."""
        return layer.reads_input

    def growth(self, layer: Layer, change: int) -> Tensor:
        """What the inner growth says, by whole columns where that is asked for, `[out, in]`."""
        values = self.inner.growth(layer, change)
        if not (self.whole and layer.reads_input):
            return values
        return by_column(values.detach().to(torch.float64).square().mean(0), values)
