"""The hybrid pattern: neurons first, then weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from sparseagent.prune.checks import require_fraction, require_method, require_sparsity
from sparseagent.prune.fixed_density import fixes_density
from sparseagent.prune.joint import Split, count_kept, is_joint, keep_neurons, largest_share
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.pattern.unstructured import Unstructured

_UNSTRUCTURED = Unstructured()


@dataclass(frozen=True)
class Hybrid:
    """Whole neurons first, weights in what remains.

    While the budget falls, neurons go as in `WholeNeurons`, until every hidden layer has lost the
    fraction `neurons` of them; from then on weights of the others go, by the allocation and the
    pattern `within`. If the budget ends before, only neurons go.

    Source: neuron ablation and sparse weights together, as in SRigL (Lasby et al., "Dynamic Sparse
    Training with Structured Sparsity", 2024).

    Attributes:
        neurons: Fraction of the neurons of each hidden layer that goes first, in [0, 1).
        within: Which shapes of zeros are legal among the weights of the others. A pattern whose
            numbers fix the density, or one for whole neurons, is refused.
    """

    neurons: float = 0.5
    within: Pattern = _UNSTRUCTURED

    def __post_init__(self) -> None:
        require_sparsity("neurons", self.neurons)
        require_method("within", self.within, "mask")
        if fixes_density(self.within):
            raise ValueError(
                f"within: expected a pattern that can follow a budget, got {self.within}, which "
                "fixes the density; remove neurons first, and prune by it afterwards"
            )
        if is_joint(self.within):
            raise ValueError(f"within: expected a pattern for single layers, got {self.within}")

    @classmethod
    def for_sparsity(
        cls, sparsity: float, density: float = 0.5, within: Pattern = _UNSTRUCTURED
    ) -> Hybrid:
        """As many neurons go as leave the rest about as dense as is asked for.

        Removing a share x of the neurons of every hidden layer leaves about (1 - x)^2 of the
        weights; the layers between hidden ones are taken to hold most of them.

        Args:
            sparsity: Final sparsity of the run, in [0, 1).
            density: Of what the neurons leave, in (0, 1].
            within: As in the class.

        Raises:
            ValueError: A number is out of range.
        """
        require_sparsity("sparsity", sparsity)
        require_fraction("density", density)
        if not density:
            raise ValueError("density: expected more than 0, got 0")
        return cls(max(0.0, 1.0 - sqrt((1.0 - sparsity) / density)), within)

    @property
    def allocates(self) -> bool:
        """False: the allocation splits the budget of what remains."""
        return False

    @property
    def needs_neurons(self) -> bool:
        """True."""
        return True

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
        """Choose neurons, then weights; see `joint.JointPattern`.

        Raises:
            ValueError: `within` cannot keep as few.
        """
        share = largest_share(scores, sources, kept, 1.0 - self.neurons)
        chosen = keep_neurons(scores, sources, share)
        if count_kept(chosen) <= kept:
            return chosen
        left = [s.masked_fill(~mask, -float("inf")) for s, mask in zip(scores, chosen, strict=True)]
        return [
            self.within.mask(layer, count) for layer, count in zip(left, split(left), strict=True)
        ]
