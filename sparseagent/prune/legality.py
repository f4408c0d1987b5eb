"""Whether a pattern can reach the final sparsities, asked before training starts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sparseagent.prune.allocation import Allocation, erk, uniform
from sparseagent.prune.choice import choose
from sparseagent.prune.fixed_density import FixedDensity, fixes_density
from sparseagent.prune.joint import is_joint
from sparseagent.prune.layout import Layout, Part
from sparseagent.prune.method import Method

# Whoever asks for 0.875 where groups at the edge make it 0.8764 means the same.
_ROUNDED = 0.005


def require_legal(layout: Layout, method: Method, allocate: Allocation | None) -> None:
    """Refuse a pattern that cannot reach the final sparsities.

    An allocation that looks at the scores is known only when it is asked, so the combination with
    one is checked at each change of the masks instead.

    Args:
        layout: What is pruned, and how far.
        method: How to choose.
        allocate: The allocation that was asked for, `None` for the default.

    Raises:
        ValueError: The pattern fixes the density and an allocation, a floor or another sparsity was
            asked for, or a layer's share is too small for the pattern.
    """
    pattern = method.pattern
    pruned = [part for part in layout.parts if part.final > 0.0]
    if fixes_density(pattern) or (is_joint(pattern) and pattern.allocates):
        _require_own_split(method, allocate)
    if fixes_density(pattern):
        for part in pruned:
            _require_final(part, pattern)
    elif is_joint(pattern):
        _require_neurons(pruned, method)
    elif method.allocate in (erk, uniform):
        for part in pruned:
            choose(part, _blank(part), part.final, method)


def _require_own_split(method: Method, allocate: Allocation | None) -> None:
    why = f"beside {method.pattern}, which splits the budget by itself"
    if allocate is not None:
        raise ValueError(f"allocate: expected None {why}")
    if method.output_floor:
        raise ValueError(
            f"output_floor: expected 0 {why}, got {method.output_floor}; leave the output layer "
            "out with layers=Hidden()"
        )


def _require_neurons(parts: Sequence[Part], method: Method) -> None:
    assert is_joint(method.pattern)
    for part in parts:
        if method.pattern.needs_neurons and not any(i is not None for i in part.sources):
            raise ValueError(
                f"pattern: expected hidden neurons that can be pruned in the {part.name} for "
                f"{method.pattern}, got none: nothing but the outputs of single layers, or neurons "
                "that a residual or a norm ties together"
            )
        if method.allocate in (erk, uniform):
            choose(part, _blank(part), part.final, method)


def _blank(part: Part) -> list[Tensor]:
    return [torch.zeros(layer.weight.shape) for layer in part.layers]


def _require_final(part: Part, pattern: FixedDensity) -> None:
    """The final sparsity must be the pattern's own, or less by at most `_ROUNDED`."""
    blank, budget = _blank(part), part.budget(part.final)
    final = pattern.final_count(blank)
    gives = 1.0 - final / part.budget(0.0)
    near = budget >= final and part.final >= gives - _ROUNDED
    if not near or sum(pattern.counts(blank, budget)) != final:
        # Rounded down: asking for this number leaves room for every weight.
        shown = math.floor(gives * 1e6) / 1e6
        argument = "critic_sparsity" if part.name == "critic" else "schedule"
        raise ValueError(
            f"{argument}: expected a final sparsity of {shown} for the {part.name}, as {pattern} "
            f"gives, got {part.final}"
        )
