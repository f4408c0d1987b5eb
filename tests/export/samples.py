"""Policies of every kind that the export knows, with observations for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from networks import random_csr, random_policy
from programs import random_program, rows_for, several_inputs

import sparseagent as sa
from sparseagent.ops.activation import ACTIVATIONS

NAMES = [
    "relu",
    "tanh_unscaled",
    "avx512_order",
    "avx2_order",
    "neon_order_argmax",
    "shuffled_runs",
    "normalised",
    "bytes_in_float",
    "wide",
    "activations",
    "program",
    "several_inputs",
]


def sample(name: str, batch: int) -> tuple[sa.SparsePolicy, Any]:
    """A policy of `NAMES`, and observations for it; some are odd numbers."""
    rng = np.random.default_rng(NAMES.index(name))
    if name in ("program", "several_inputs"):
        return _program(name, rng, batch)
    policy = _net(name, rng)
    step = policy.observation
    if step.dtype == "uint8":
        return policy, rng.integers(0, 256, (batch, *step.shape), np.uint8)
    given = rng.normal(size=(batch, *step.shape)).astype(step.dtype)
    given[:: 7, 0] *= 1e-39  # denormal
    given[3 :: 7, -1] *= 1e25
    given[5 :: 70, 0] = np.nan
    given[6 :: 70, -1] = np.inf
    given[7 :: 70, 0] = -0.0
    return policy, given


def _net(name: str, rng: Any) -> sa.SparsePolicy:
    make = random_policy
    if name == "relu":
        return make(rng, (17, 256, 256, 6), 0.9, head=sa.Argmax())
    if name == "tanh_unscaled":
        bounds = sa.unscale_to(-rng.uniform(1, 3, 4), rng.uniform(1, 3, 4))
        return make(rng, (8, 64, 64, 4), 0.9, "tanh", head=bounds)
    if name.endswith("_order"):
        net = make(rng, (17, 128, 120, 5), 0.85, "elu", head=sa.clip_to([-1] * 5, [0.5] * 5))
        return net.repack(name.partition("_")[0])
    if name == "neon_order_argmax":
        return make(rng, (9, 70, 50, 3), 0.8, "silu", head=sa.Argmax()).repack("neon")
    if name == "shuffled_runs":
        return make(rng, (33, 47, 21, 7), 0.5, "leaky_relu", runs=5)
    if name == "normalised":
        step = sa.Observation.normalise(
            rng.normal(size=11), rng.uniform(0.1, 9, 11), eps=1e-8, clip=3, dtype="float64"
        )
        bounds = sa.clip_to([-np.inf, -0.5, 0], [0.25, np.inf, 0.5])
        return make(rng, (11, 40, 3), 0.6, "gelu", observation=step, head=bounds)
    if name == "bytes_in_float":
        step = sa.Observation((3, 4, 2), "uint8", scale=np.array([255.0]), precision="float32")
        return make(rng, (24, 30, 2), 0.0, "softplus", observation=step)
    if name == "wide":
        return make(rng, (300, 70, 300, 2), 0.7)
    layers, width = [], 12
    for kind in sorted(ACTIVATIONS):
        weight = random_csr(rng, 13, width, 0.3)
        layers.append(sa.Layer(weight, rng.normal(size=13).astype(np.float32), kind, 0.7))
        width = 13
    return sa.SparsePolicy(sa.chain(layers, sa.Observation((12,))))


def _program(name: str, rng: Any, batch: int) -> tuple[sa.SparsePolicy, Any]:
    if name == "several_inputs":
        program, given = several_inputs(rng, batch)
        given["goal"][5] = 7  # names no category
        return sa.SparsePolicy(program), given
    program = random_program(rng, 14)
    return sa.SparsePolicy(program), rows_for(rng, program, batch)
