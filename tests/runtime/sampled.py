"""Policies with every head that samples, for the tests of sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from programs import Draft

import sparseagent as sa
from sparseagent.csr import Float32
from sparseagent.program import Program

BOX = ([-1.0, -2.0, 0.0, -1.0, -3.0], [1.0, 2.0, 0.5, np.inf, 3.0])  # of 5 numbers, as
FINITE = ([-1.0, -2.0, 0.0, -1.0, -3.0], [1.0, 2.0, 0.5, 4.0, 3.0])


def heads(rng: Any, size: int = 5, latent: int = 7) -> dict[str, sa.Head]:
    """A head of every kind for `size` outputs, at least 5, and `latent` features."""
    log_std = rng.uniform(-1, 0.5, size).astype(np.float32)
    std = rng.uniform(0, 0.5, (latent, size)).astype(np.float32)
    clip = sa.clip_to(*(np.resize(bound, size) for bound in BOX))
    unscale = sa.unscale_to(*(np.resize(bound, size) for bound in FINITE))
    return {
        "categorical": sa.Categorical(start=-2),
        "multi_categorical": sa.MultiCategorical((1, 3, size - 4), (0, 5, -1)),
        "bernoulli": sa.Bernoulli(),
        "epsilon_greedy": sa.EpsilonGreedy(0.3, start=1),
        "gaussian": sa.DiagGaussian(log_std),
        "gaussian_clip": sa.DiagGaussian(log_std, bounds=clip),
        "gaussian_output": sa.DiagGaussian(log_std_range=(-0.5, 0.25)),
        "squashed": sa.DiagGaussian(None, (-20, 2), bounds=unscale, squash=True),
        "gsde": sa.GSDE(std, 4, bounds=clip),
        "gsde_squash": sa.GSDE(std, 0, bounds=unscale, squash=True),
    }


def program(rng: Any, inputs: int = 6, size: int = 5, latent: int = 7) -> Program:
    """Outputs `action`, `log_std`, `latent` and `value` of one trunk."""
    draft = Draft(rng)
    observed = draft.observe("observation", sa.Observation((inputs,)))
    hidden = draft.linear((observed,), latent, activation="tanh")
    outputs = {
        "action": draft.linear((hidden,), size, activation="identity"),
        "log_std": draft.linear((hidden,), size, activation="identity"),
        "latent": hidden,
        "value": draft.linear((hidden,), 1, activation="identity"),
    }
    return Program(draft.slots, tuple(draft.ops), outputs)


def policies(seed: int = 0, **sizes: int) -> dict[str, sa.SparsePolicy]:
    """A policy with every head; programs are the same."""
    rng = np.random.default_rng(seed)
    shared = program(rng, **sizes)
    sizes.pop("inputs", None)
    return {name: sa.SparsePolicy(shared, head) for name, head in heads(rng, **sizes).items()}


def observations(seed: int, batch: int, inputs: int = 6) -> Float32:
    return np.random.default_rng(seed).normal(size=(batch, inputs)).astype(np.float32)
