"""Runs the source and its policy on the same observations: a conversion proves itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.policy import SparsePolicy
from sparseagent.policyfile import Observations
from sparseagent.program import Program
from sparseagent.reference import error_bound, forward_exact

#: What the source gives for observations as they come from the environment, by output; None where
#: it cannot be run.
Source = Callable[[Observations], Mapping[str, NDArray[Any]] | None]

#: Roundings of a typical network, as a part of its outputs' size.
_USUAL = 1e-5
#: What an ill-conditioned one may add, where its error bound says so.
_MOST = 1e-3


def compared(policy: SparsePolicy, source: Source) -> SparsePolicy:
    """The policy with `metadata["source_distance"]`, the largest difference from its source.

    Without it where the source cannot be run.

    Args:
        policy: with a self-test, whose observations both see.
        source: what was converted.

    Raises:
        ValueError: an output differs by more than rounding explains; the message names it.
    """
    assert policy.golden is not None
    observations = policy.golden.observations
    expected = source(observations)
    if expected is None:
        return policy
    largest = 0.0
    for name in policy.program.outputs:
        program = _showing(policy.program, name)
        got = forward_exact(program, observations)
        wanted = np.asarray(expected[name], np.float64).reshape(got.shape)
        bound = error_bound(program, observations)
        largest = max(largest, _distance(name, got, wanted, bound))
    return policy.with_metadata(source_distance=largest)


def _distance(
    name: str, got: NDArray[Any], wanted: NDArray[Any], bound: NDArray[np.float64]
) -> float:
    """The largest difference, which has to be one that rounding explains."""
    both = np.isfinite(got) & np.isfinite(wanted)
    apart = np.abs(np.where(both, got - wanted, 0.0))
    size = max(1.0, float(np.abs(np.where(both, wanted, 0.0)).max(initial=0.0)))
    allowed = size * (_USUAL + np.minimum(2 * bound / size, _MOST))
    alike = np.where(both, apart <= allowed, (got == wanted) | (np.isnan(got) & np.isnan(wanted)))
    if not alike.all():
        row, feature = np.argwhere(~alike)[0].tolist()
        raise ValueError(
            f"{name}: expected the policy to give what its source gives, got "
            f"{got[row, feature]} in place of {wanted[row, feature]} (feature {feature} of "
            f"self-test observation {row}); please report the network"
        )
    return float(apart.max(initial=0.0))


def _showing(program: Program, name: str) -> Program:
    """The program with one of its outputs alone."""
    return replace(program, outputs={name: program.outputs[name]})
