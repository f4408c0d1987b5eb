"""The policies that are timed: the four reference nets under generated masks, and policy files."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sparseagent as sa
from bench.masks import Bools, masks
from sparseagent.reference import by_name

Float32 = NDArray[np.float32]

#: Every array a contender sees starts on a cache line: other starts slow some of them down.
ALIGNMENT = 64


@dataclass(frozen=True)
class Net:
    """A chain of fully connected layers.

    Attributes:
        name: short name, used in tables.
        sizes: `(in, hidden, ..., out)`.
        activation: activation of the hidden layers; the last layer is linear.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str

    @property
    def label(self) -> str:
        """`M 17-256-256-6 relu`."""
        return f"{self.name} {'-'.join(map(str, self.sizes))} {self.activation}"


NETS = {
    net.name: net
    for net in (
        Net("S", (8, 64, 64, 4), "tanh"),
        Net("M", (17, 256, 256, 6), "relu"),
        Net("L", (376, 400, 300, 17), "relu"),
        Net("XL", (348, 1024, 1024, 1024, 17), "relu"),
    )
}
SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
BATCHES = (1, 8, 32, 128, 512, 2048)


@dataclass(frozen=True, eq=False)
class Case:
    """One policy to time.

    Attributes:
        net: name of the net, or of the policy file.
        source: pattern of the generated mask, one of `PATTERNS`, or `file` (a trained policy).
        sparsity: fraction of zeros over all layers, in [0, 1), rounded to 4 digits: the one asked
            for, which patterns of blocks or groups meet as nearly as they can.
        policy: layers only; the observation step and the head belong to `predict`, which no peer
            has, so they are left out.
        pool: float32 `[n, in]` real inputs of the first layer to draw from, or None for N(0, 1).
    """

    net: str
    source: str
    sparsity: float
    policy: sa.SparsePolicy
    pool: Float32 | None = None

    @property
    def weights(self) -> int:
        """Number of weights of the dense net, biases not counted."""
        return sum(layer.shape[0] * layer.shape[1] for layer in self.policy.layers)


def random_case(net: Net, sparsity: float, seed: int = 0, pattern: str = "random") -> Case:
    """`net` with a generated mask and random weights.

    With the pattern `random` each layer, first and last included, keeps exactly
    `round((1 - sparsity) * out * in)` weights. They are He-scaled (He et al., 2015) to the number
    of inputs that remain, so that activations keep their size at any sparsity and about half of
    the ReLUs are active.

    Raises:
        ValueError: `sparsity` is outside [0, 1) or leaves a layer without weights, or `pattern`
            is unknown.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity: expected a fraction in [0, 1), got {sparsity}")
    name = net.name if pattern == "random" else f"{net.name} {pattern}"
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), round(sparsity * 10_000)])
    shapes = list(zip(net.sizes[1:], net.sizes[:-1], strict=True))
    last = len(shapes) - 1
    layers = tuple(
        _random_layer(rng, mask, "identity" if number == last else net.activation)
        for number, mask in enumerate(masks(rng, shapes, sparsity, pattern))
    )
    policy = sa.SparsePolicy(sa.chain(layers, sa.Observation((net.sizes[0],))))
    return Case(net.name, pattern, round(sparsity, 4), policy)


def file_case(path: str | Path, name: str | None = None) -> Case:
    """The trained policy in the file `path`; its golden observations, if any, are the inputs.

    Without `name` the net is called like the file.
    """
    policy = sa.load(path)
    pool = None
    if policy.golden is not None:
        raw = by_name(policy.program, policy.golden.observations)["observation"]
        pool = policy.observation.apply(raw)
    plain = sa.chain(policy.layers, sa.Observation((policy.input_size,)))
    bare = replace(policy, program=plain, head=sa.Raw(), golden=None)
    return Case(name or Path(path).stem, "file", round(policy.sparsity, 4), bare, pool)


def observations(case: Case, batch: int, seed: int = 0) -> list[Float32]:
    """Distinct aligned inputs float32 `[B, in]`, at least 64 rows in all and at least 2 arrays.

    Timing cycles through them: with a single observation the branch predictor learns which ReLUs
    are off, and a kernel that skips zeros looks faster than it is.
    """
    rng = np.random.default_rng([seed, batch])
    width = case.policy.input_size
    arrays = []
    for _ in range(max(2, 64 // batch)):
        array = aligned((batch, width))
        if case.pool is None:
            array[...] = rng.standard_normal((batch, width), np.float32)
        else:
            array[...] = case.pool[rng.integers(len(case.pool), size=batch)]
        arrays.append(array)
    return arrays


def aligned(shape: tuple[int, ...]) -> Float32:
    """Zeros, float32, C-contiguous, starting on a cache line."""
    count = int(np.prod(shape))
    raw = np.zeros(count + ALIGNMENT // 4, np.float32)
    start = -raw.ctypes.data % ALIGNMENT // 4
    return raw[start : start + count].reshape(shape)


def aligned_copy(array: NDArray[Any]) -> Float32:
    """`array` as float32, C-contiguous, starting on a cache line."""
    copy = aligned(array.shape)
    copy[...] = array
    return copy


def _random_layer(rng: np.random.Generator, mask: Bools, activation: str) -> sa.Layer:
    """Weights under `mask`; one drawn as exactly 0 is stored all the same."""
    scale = np.float32(np.sqrt(2.0 * len(mask) / mask.sum()))
    weight = np.zeros(mask.shape, np.float32)
    weight[mask] = rng.standard_normal(int(mask.sum()), np.float32) * scale
    bias = rng.standard_normal(len(mask), np.float32) * np.float32(0.1)
    return sa.Layer(sa.CSR.from_dense(weight, mask), bias, activation)
