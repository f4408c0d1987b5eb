"""The score of whole inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparseagent.prune.checks import require_method
from sparseagent.prune.inputs import by_column
from sparseagent.prune.layer import Layer
from sparseagent.prune.score.magnitude import Magnitude
from sparseagent.prune.score.protocol import Score

# Float32 norms that differ do so by more than 2**-25 of their size: a share of 2**-26 orders
# weights inside a column and never across columns.
_WITHIN = 2.0**-26


@dataclass(frozen=True)
class InputNorm:
    """Keep whole inputs: in layers that read the observation a weight counts what its column does.

    The score is the root mean square of the column, the L2 norm of an input's weights on the scale
    of one weight, so that inputs stay or go as one. What is pruned counts as zero: where the budget
    ends inside a column, the rest of it has the less norm and goes next, so that there is hardly
    ever more than one such column. Inside a column the inner score decides, and so it does in all
    other layers.

    The layers are found by their place in the networks, see `inputs.input_layers`.

    Source: the neuron L2 norm of Li et al., "Pruning Filters for Efficient ConvNets", 2017, for
    inputs instead of filters; the aim is that of Grooten et al., "Automatic Noise Filtering with
    Dynamic Sparse Training in Deep Reinforcement Learning", 2023.

    Attributes:
        inner: The score of all other layers, and of the order inside a column.
    """

    inner: Score = field(default_factory=Magnitude)

    def __post_init__(self) -> None:
        require_method("inner", self.inner, "score")

    @property
    def needs_inputs(self) -> bool:
        """Asks a `Sparsifier` to find the layers that read the observation."""
        return True

    @property
    def average(self) -> int | None:
        """That of the inner score."""
        found: int | None = getattr(self.inner, "average", None)
        return found

    @property
    def observe(self) -> Callable[[Layer], Tensor] | None:
        """That of the inner score; `None` where it has to see no updates."""
        found: Callable[[Layer], Tensor] | None = getattr(self.inner, "observe", None)
        return found

    def score(self, layer: Layer) -> Tensor:
        """Column norms, ties by the inner score; or the inner score, `[out, in]`."""
        inner = self.inner.score(layer)
        if not layer.reads_input:
            return inner
        norms = layer.weight.detach().to(torch.float64).square().mean(0).sqrt()
        norms = norms.to(torch.float32).to(torch.float64)
        share = _WITHIN * by_column(norms, inner) / layer.weight.numel()
        # Columns of nothing but zeros are ordered as well.
        return norms + norms.clamp(min=torch.finfo(torch.float32).tiny) * share
