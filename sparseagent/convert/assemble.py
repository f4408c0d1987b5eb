"""The last step of every conversion: layers, steps and facts become a SparsePolicy."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from sparseagent.convert.dead_neurons import remove_dead_neurons
from sparseagent.convert.golden import golden_observations
from sparseagent.convert.spaces import BoxSpace
from sparseagent.head import Head
from sparseagent.ops import Layer, Observation, chain
from sparseagent.order import best_order
from sparseagent.policy import SparsePolicy


def assemble(
    layers: tuple[Layer, ...],
    observation: Observation,
    head: Head,
    *,
    facts: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    space: BoxSpace | None = None,
    order: str | None = None,
    keep_structure: bool = False,
) -> SparsePolicy:
    """Join the parts, remove dead neurons, order the sums, and attach facts and the self-test.

    Args:
        layers: as the source has them.
        observation: the step before the first layer.
        head: the step after the last layer.
        facts: what the converter knows about the source.
        metadata: what the caller adds; it wins over `facts`.
        space: the observations' space, from which the self-test is drawn, or None.
        order: the summation order, see `SparsePolicy.repack`; None for this machine's fastest.
        keep_structure: whether dead neurons stay.

    Returns:
        The policy. Its metadata describes the source before dead neurons went: `source_shapes`
        `[out, in]` and `sparsity` per layer, `versions`, and unless the structure is kept
        `removed_neurons` per hidden layer.
    """
    described = {
        **facts,
        "source_shapes": [list(layer.shape) for layer in layers],
        "sparsity": [layer.sparsity for layer in layers],
    }
    policy = SparsePolicy(chain(layers, observation), head, described)
    if not keep_structure:
        policy = remove_dead_neurons(policy)
    policy = policy.repack(best_order() if order is None else order)
    low, high = (space.low, space.high) if space is not None else (None, None)
    policy = policy.with_golden(golden_observations(observation, low, high))
    return policy.with_metadata(**dict(metadata or {}))


def versions(*packages: str) -> dict[str, str]:
    """The versions of this package, of NumPy and of `packages`, as far as they are installed."""
    names = ("sparseagent", "numpy", *packages)
    found = {name: _version(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
