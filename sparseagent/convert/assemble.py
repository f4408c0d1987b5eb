"""The last step of every conversion: a program, its head and facts become a SparsePolicy."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.compare import Source, compared
from sparseagent.convert.dead_neurons import remove_dead_neurons
from sparseagent.convert.golden import golden_observations
from sparseagent.convert.unread_inputs import drop_unread_inputs
from sparseagent.head import Head
from sparseagent.order import best_order
from sparseagent.policy import SparsePolicy

if TYPE_CHECKING:
    from sparseagent.agents.spaces import BoxSpace


def assemble(
    builder: Builder,
    outputs: Mapping[str, Value],
    head: Head,
    *,
    facts: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    spaces: Mapping[str, BoxSpace] | None = None,
    order: str | None = None,
    source: Source | None = None,
) -> SparsePolicy:
    """Fold, remove what does nothing, order the sums, and attach facts and the self-test.

    Args:
        builder: the network as the source has it.
        outputs: values by name; the head takes the first.
        head: the step after the first output.
        facts: what the converter knows about the source.
        metadata: what the caller adds; it wins over `facts`.
        spaces: of the inputs by name, as far as they are known; the self-test is drawn from them.
        order: the summation order, see `SparsePolicy.repack`; None for this machine's fastest.
        source: what was converted, where it can be run; the policy is compared with it.

    Returns:
        The policy. Its metadata describes the trained network, before anything was folded or
        removed: `source_shapes` `[out, in]` and `sparsity` per linear map, `versions`, unless masks
        were given `removed_neurons` per hidden layer, and with a source `source_distance`.

    Raises:
        ValueError: parts that do not fit, or a policy that differs from its source.
    """
    if not builder.matrices:
        raise ValueError("module: expected at least one Linear, got none")
    described = {
        **facts,
        "source_shapes": [list(shape) for shape, _ in builder.matrices],
        "sparsity": [sparsity for _, sparsity in builder.matrices],
    }
    policy = SparsePolicy(builder.program(outputs), head, described)
    if not builder.has_masks:
        policy = remove_dead_neurons(policy)
    golden = _golden(policy, spaces or {})
    policy = drop_unread_inputs(policy).repack(best_order() if order is None else order)
    policy = policy.with_golden(golden)
    if source is not None:
        policy = compared(policy, source)
    return policy.with_metadata(**dict(metadata or {}))


def _golden(policy: SparsePolicy, spaces: Mapping[str, BoxSpace]) -> Any:
    """Observations for the self-test: an array, or one for each input of a Dict."""
    drawn = {}
    for number, (name, step) in enumerate(policy.inputs.items()):
        space = spaces.get(name)
        low, high = (None, None) if space is None else (space.low, space.high)
        drawn[name] = golden_observations(step, low, high, seed=number)
    return next(iter(drawn.values())) if len(drawn) == 1 else drawn


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
