"""Policies of every kind that the export knows, with observations for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from networks import random_csr, random_policy
from programs import Draft, random_program, rows_for, several_inputs

import sparseagent as sa
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.ops.window import Window
from sparseagent.program import Program


def _ordered(rng: Any) -> sa.SparsePolicy:
    head = sa.clip_to([-1] * 5, [0.5] * 5)
    return random_policy(rng, (17, 128, 120, 5), 0.85, "elu", head=head)


def _normalised(rng: Any) -> sa.SparsePolicy:
    step = sa.Observation.normalise(
        rng.normal(size=11), rng.uniform(0.1, 9, 11), eps=1e-8, clip=3, dtype="float64"
    )
    head = sa.clip_to([-np.inf, -0.5, 0], [0.25, np.inf, 0.5])
    return random_policy(rng, (11, 40, 3), 0.6, "gelu", observation=step, head=head)


def _bytes_in_float(rng: Any) -> sa.SparsePolicy:
    step = sa.Observation((3, 4, 2), "uint8", scale=np.array([255.0]), precision="float32")
    return random_policy(rng, (24, 30, 2), 0.0, "softplus", observation=step)


def _gathered(rng: Any) -> sa.SparsePolicy:
    step = sa.Observation(
        (30,),
        "float32",
        rng.normal(size=7),
        rng.uniform(0.1, 9, 7),
        -3,
        3,
        columns=np.array([0, 3, 4, 11, 12, 28, 29], np.int32),
    )
    return random_policy(rng, (7, 40, 3), 0.6, "gelu", observation=step)


def _activations(rng: Any) -> sa.SparsePolicy:
    layers, width = [], 12
    for kind in sorted(ACTIVATIONS):
        weight = random_csr(rng, 13, width, 0.3)
        layers.append(sa.Layer(weight, rng.normal(size=13).astype(np.float32), kind, 0.7))
        width = 13
    return sa.SparsePolicy(sa.chain(layers, sa.Observation((12,))))


_NETS: Mapping[str, Callable[[Any], sa.SparsePolicy]] = {
    "relu": lambda rng: random_policy(rng, (17, 256, 256, 6), 0.9, head=sa.Argmax()),
    "tanh_unscaled": lambda rng: random_policy(
        rng,
        (8, 64, 64, 4),
        0.9,
        "tanh",
        head=sa.unscale_to(-rng.uniform(1, 3, 4), rng.uniform(1, 3, 4)),
    ),
    "avx512_order": lambda rng: _ordered(rng).repack("avx512"),
    "avx2_order": lambda rng: _ordered(rng).repack("avx2"),
    "neon_order_argmax": lambda rng: random_policy(
        rng, (9, 70, 50, 3), 0.8, "silu", head=sa.Argmax()
    ).repack("neon"),
    "shuffled_runs": lambda rng: random_policy(rng, (33, 47, 21, 7), 0.5, "leaky_relu", runs=5),
    "normalised": _normalised,
    "bytes_in_float": _bytes_in_float,
    "gathered": _gathered,
    "wide": lambda rng: random_policy(rng, (300, 70, 300, 2), 0.7),
    "activations": _activations,
    "several_choices": lambda rng: random_policy(
        rng, (9, 20, 7), 0.5, head=sa.MultiCategorical((3, 4), (0, -2))
    ),
    "bits": lambda rng: random_policy(rng, (9, 20, 7), 0.5, head=sa.Bernoulli()),
    "squashed": lambda rng: random_policy(
        rng,
        (9, 20, 3),
        0.5,
        head=sa.DiagGaussian(
            np.zeros(3, np.float32), squash=True, bounds=sa.unscale_to([-2, 0, -1], [2, 1, 5])
        ),
    ),
}
_HEADS: Mapping[str, Callable[[Any], sa.Head]] = {
    "categorical": lambda _: sa.Categorical(-3),
    "explores": lambda _: sa.EpsilonGreedy(0.3, 2),
    "gaussian": lambda rng: sa.DiagGaussian(log_std_range=(-1, 0.5), squash=True),
    "gsde": lambda rng: sa.GSDE(
        rng.uniform(0, 1, (6, 4)).astype(np.float32), 3, bounds=sa.clip_to([-1] * 4, [1] * 4)
    ),
}
NAMES = [*_NETS, *_HEADS, "image", "program", "several_inputs"]


def sample(name: str, batch: int) -> tuple[sa.SparsePolicy, Any]:
    """A policy of `NAMES`, and observations for it; some are odd numbers."""
    rng = np.random.default_rng(NAMES.index(name))
    if name == "image":
        return _image(rng, batch)
    if name in _HEADS:
        head = _HEADS[name](rng)
        return _two_outputs(rng, head), rng.normal(size=(batch, 5)).astype(np.float32)
    if name not in _NETS:
        return _program(name, rng, batch)
    policy = _NETS[name](rng)
    step = policy.observation
    if step.dtype == "uint8":
        return policy, rng.integers(0, 256, (batch, *step.shape), np.uint8)
    given = rng.normal(size=(batch, *step.shape)).astype(step.dtype)
    given[::7, 0] *= 1e-39  # denormal
    given[3::7, -1] *= 1e25
    given[5::70, 0] = np.nan
    given[6::70, -1] = np.inf
    given[7::70, 0] = -0.0
    return policy, given


def _two_outputs(rng: Any, head: sa.Head) -> sa.SparsePolicy:
    """Four numbers of an action; behind them what a head may read: `log_std` or `latent`."""
    draft = Draft(rng)
    hidden = draft.linear((draft.observe("observation", sa.Observation((5,))),), 6)
    action = draft.linear((hidden,), 4, activation="identity")
    other = draft.linear((hidden,), 4, activation="identity")
    outputs = {"action": action, "value": hidden, "log_std": other, "latent": hidden}
    return sa.SparsePolicy(Program(draft.slots, tuple(draft.ops), outputs), head)


def _image(rng: Any, batch: int) -> tuple[sa.SparsePolicy, Any]:
    """Frames as environments hand them out; padding, strides and dilation of every kind."""
    draft = Draft(rng)
    step = sa.Observation((9, 8, 3), "uint8", scale=np.array([255.0]), precision="float32")
    frame = draft.observe("observation", step)
    first = Window((3, 9, 8), (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), channels_last=True)
    planes = draft.conv2d(frame, first, out=5, activation="identity")
    pooled = draft.pool(planes, Window((5, *first.output), (3, 3), (1, 2), (1, 1, 1, 1)))
    last = draft.linear((pooled,), 4, activation="tanh")
    policy = sa.SparsePolicy(Program(draft.slots, tuple(draft.ops), {"action": last}))
    return policy, rng.integers(0, 256, (batch, *step.shape), np.uint8)


def _program(name: str, rng: Any, batch: int) -> tuple[sa.SparsePolicy, Any]:
    if name == "several_inputs":
        program, given = several_inputs(rng, batch)
        given["goal"][5:6] = 7  # names no category
        return sa.SparsePolicy(program), given
    program = random_program(rng, 14)
    return sa.SparsePolicy(program), rows_for(rng, program, batch)
