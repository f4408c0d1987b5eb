"""The order that `repack` lays down fills the lanes of the kernel that walks it.

Speed, without a clock: what `perm` streams for a layer is in proportion to the steps that it takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import ISAS

import sparseagent as sa
from sparseagent.order import ORDERS

RNG = np.random.default_rng(11)

#: The instruction sets of this machine that an order can be made for.
PACKED = [isa for isa in ISAS if isa in ORDERS]


def policy_of(*masks: Any) -> sa.SparsePolicy:
    """Linear layers with random weights under `masks`."""
    layers = []
    for mask in masks:
        weight = RNG.normal(size=mask.shape).astype(np.float32)
        csr = sa.CSR.from_dense(weight, mask)
        layers.append(sa.Layer(csr, np.zeros(len(mask), np.float32)))
    return sa.SparsePolicy(sa.chain(tuple(layers), sa.Observation((masks[0].shape[1],))))


def perm_bytes(policy: sa.SparsePolicy, isa: str) -> int:
    """What `perm` holds of the first layer, as the policy is stored."""
    first = sa.compile(policy, isa=isa, format="perm", tune=0)._choices[0]
    assert first[2] == "perm"
    return int(first[3][0][2])


@pytest.mark.parametrize("isa", PACKED)
@pytest.mark.parametrize("shape", [(256, 256), (300, 100), (1200, 256)])
def test_rows_that_keep_their_places_fill_the_lanes_too(shape: tuple[int, int], isa: str) -> None:
    mask = RNG.random(shape) < 0.1
    reader = np.ones((3, shape[0]), np.bool_)
    moved = perm_bytes(policy_of(mask, reader).repack(isa), isa)
    stay = perm_bytes(policy_of(mask).repack(isa), isa)
    assert stay <= 1.02 * moved


@pytest.mark.parametrize("isa", PACKED)
def test_a_row_that_is_nearly_full_costs_little_more_than_its_length(isa: str) -> None:
    """Its group stays ascending, so the kernel must walk pairs of chunks, as the packer counts."""
    lanes = ORDERS[isa]
    mask = RNG.random((4 * lanes, 256)) < 0.2
    mask[3] = True
    steps = perm_bytes(policy_of(mask).repack(isa), isa) / (5 * 4 * lanes)
    assert steps <= 1.1 * 256


@pytest.mark.parametrize("isa", PACKED)
def test_ascending_columns_fill_nearly_half_of_the_lanes(isa: str) -> None:
    mask = RNG.random((256, 400)) < 0.1
    assert perm_bytes(policy_of(mask), isa) <= 12.5 * mask.sum()
