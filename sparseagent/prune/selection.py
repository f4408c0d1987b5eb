"""Choices of layers by their place in a network.

In a policy the networks are known. In a plain module the layers come in the order in which they
run, and each output layer ends a network of its own; where `forward` cannot be traced or does not
call each layer, they come in the order in which they were registered, as one network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparseagent.prune.checks import require_count
from sparseagent.prune.layer import Layer


@dataclass(frozen=True)
class First:
    """The first layers of each network, those that run first.

    Attributes:
        count: How many, at least 1.
    """

    count: int

    def __post_init__(self) -> None:
        require_count("count", self.count)

    def pick(self, chain: Sequence[Layer]) -> Sequence[Layer]:
        """Those of one network, whose layers come in the order in which they run."""
        return chain[: self.count]


@dataclass(frozen=True)
class Top:
    """The last layers of each network, its output layer included.

    Attributes:
        count: How many, at least 1.
    """

    count: int

    def __post_init__(self) -> None:
        require_count("count", self.count)

    def pick(self, chain: Sequence[Layer]) -> Sequence[Layer]:
        """Those of one network, whose layers come in the order in which they run."""
        return chain[-self.count :]


@dataclass(frozen=True)
class Hidden:
    """All layers but the output layer of each network, which stays dense and outside the budget."""

    def pick(self, chain: Sequence[Layer]) -> Sequence[Layer]:
        """Those of one network, whose layers come in the order in which they run."""
        return chain[:-1]
