"""Penalties that act after the optimizer's step instead of through their gradient."""

from __future__ import annotations

from typing import Protocol, TypeGuard

from torch import nn

from sparseagent.prune.penalty.protocol import Penalty


class ProximalPenalty(Penalty, Protocol):
    """A penalty that can be taken as a proximal step; `penalise` takes it so.

    Proximal steps give exact zeros, and no optimizer rescales them (Parikh and Boyd, "Proximal
    Algorithms", 2014).
    """

    def shrink(self, module: nn.Module, step: float) -> None:
        """Replace the weights w by argmin over v of step * penalty(v) + ||v - w||^2 / 2, in place.

        Args:
            module: As in `__call__`.
            step: Learning rate, 0 or more.
        """
        ...


def is_proximal(penalty: Penalty) -> TypeGuard[ProximalPenalty]:
    """Whether a penalty acts after the optimizer's step."""
    return callable(getattr(penalty, "shrink", None))
