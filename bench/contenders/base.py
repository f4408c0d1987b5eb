"""What a contender is: a few functions, and variants of which the fastest counts."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import sparseagent as sa
from bench.nets import Float32, aligned_copy

Float64 = NDArray[np.float64]


class UnsupportedError(Exception):
    """The contender cannot run this policy; the message says why and stands in the row."""


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to run one policy at one batch size, ready to be called.

    Attributes:
        name: what is special about this way, for the row.
        wrap: turns an observation array float32 `[B, in]` into what `run` takes. Not timed: it
            stands for memory that the user would have allocated once. It must not compute.
        run: the timed call, one forward of the whole batch.
        read: the output of the last `run`, float32 `[B, out]`, row-major. Not timed, so it must
            not compute either: a contender that works feature-major transposes inside `run`.
        inside: a context in which bursts of `run` stand (torch's inference mode).
        forward_ns: `(wrapped, calls) -> float64 [calls]`, ns of the forward without any Python,
            for contenders that can measure it.
        exact: the policy whose exact reference the output must equal bit for bit, or None.
        keep: objects that `run` needs alive without naming them.
    """

    name: str
    wrap: Callable[[Float32], Any]
    run: Callable[[Any], Any]
    read: Callable[[], Float32]
    inside: Callable[[], AbstractContextManager[Any]] = nullcontext
    forward_ns: Callable[[Any, int], Float64] | None = None
    exact: sa.SparsePolicy | None = None
    keep: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Contender:
    """Something that can run a policy.

    Attributes:
        name: stands in tables and files.
        stores: whether it multiplies by `all` weights or by the `nonzeros` only.
        missing: why it cannot run here, or an empty string.
        version: versions of the libraries behind it; called only where nothing is missing.
        prepare: `(policy, batch)` -> the ways to run it. Each is verified; the fastest is timed.
    """

    name: str
    stores: Literal["all", "nonzeros"]
    missing: Callable[[], str]
    version: Callable[[], str]
    prepare: Callable[[sa.SparsePolicy, int], tuple[Variant, ...]]


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A layer as peers take it: aligned weight `[out, in]`, bias `[out]`, activation's name."""

    weight: Float32
    bias: Float32
    activation: str


def dense_layers(policy: sa.SparsePolicy) -> tuple[DenseLayer, ...]:
    """The layers for a peer.

    Raises:
        UnsupportedError: the policy is no chain of layers, or an activation is another than
            identity, relu and tanh.
    """
    if not policy.program.is_chain():
        raise UnsupportedError("this peer is set up for chains of layers alone")
    return tuple(dense_layer(layer) for layer in policy.layers)


def dense_layer(layer: sa.Layer) -> DenseLayer:
    """One layer for a peer; raises UnsupportedError like `dense_layers`."""
    if layer.activation not in ("identity", "relu", "tanh"):
        raise UnsupportedError(f"peers are set up for relu and tanh, not {layer.activation}")
    weight = aligned_copy(layer.dense_weight())
    return DenseLayer(weight, aligned_copy(layer.bias), layer.activation)


def needs(*modules: str) -> Callable[[], str]:
    """A `missing` function: names the first of `modules` that is not installed."""

    def missing() -> str:
        for module in modules:
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed"
        return ""

    return missing


def versions(*packages: str) -> Callable[[], str]:
    """A `version` function: `numpy 2.4.6, scipy 1.17.1`."""

    def version() -> str:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)

    return version
