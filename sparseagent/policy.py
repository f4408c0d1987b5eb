"""SparsePolicy: the deployable artifact. Plain NumPy, immutable, validated on construction."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparseagent.csr import CSR, Float32, ReadOnly, check_shape, frozen_array
from sparseagent.head import Argmax, Clip, Head, Raw, Unscale
from sparseagent.observation import Observation

#: Names of the activations, with the default `alpha` of those that take one.
ACTIVATIONS: Mapping[str, float] = {
    "identity": 0.0,
    "relu": 0.0,
    "tanh": 0.0,
    "sigmoid": 0.0,
    "elu": 1.0,
    "leaky_relu": 0.01,
    "silu": 0.0,
    "gelu": 0.0,
    "gelu_tanh": 0.0,
}
#: A self-test of more observations than this would make a small file slow to load.
MAX_GOLDEN = 256
_MAX_ALPHA = float(np.finfo(np.float32).max)  # what the compiled code can hold
#: Summation orders by name, with the lanes of the kernel that each is made for; 0: any kernel.
ORDERS: Mapping[str, int] = {"ascending": 0, "neon": 4, "avx2": 8, "avx512": 16}


@dataclass(frozen=True, eq=False)
class Layer(ReadOnly):
    """`y = activation(W x + b)`: one matrix, sparse or dense, with its bias and activation.

    Attributes:
        weight: `CSR` `[out, in]`, or a float32 array `[out, in]` for a dense layer. In a dense
            layer every entry is part of the sum, in ascending column order, even where it is 0.
        bias: float32 `[out]`, finite.
        activation: one of `ACTIVATIONS`.
        alpha: slope of `leaky_relu` for x < 0, scale of `elu`; 0 for the others.

    Raises:
        ValueError: an array has the wrong shape, a number is not finite, or the name is unknown.
    """

    weight: CSR | Float32
    bias: Float32
    activation: str = "identity"
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.weight, CSR):
            dense = frozen_array("weight", self.weight, np.float32, 2)
            check_shape("weight: shape", dense.shape)
            if not np.isfinite(dense).all():
                raise ValueError("weight: expected finite numbers, got Inf or NaN")
            object.__setattr__(self, "weight", dense)
        object.__setattr__(self, "bias", frozen_array("bias", self.bias, np.float32, 1))
        if self.bias.size != self.shape[0]:
            raise ValueError(
                f"bias: expected {self.shape[0]} numbers for a layer {self.shape}, "
                f"got {self.bias.size}"
            )
        if not np.isfinite(self.bias).all():
            raise ValueError("bias: expected finite numbers, got Inf or NaN")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: expected one of {', '.join(ACTIVATIONS)}, got {self.activation!r}"
            )
        object.__setattr__(self, "alpha", float(self.alpha))
        if not abs(self.alpha) <= _MAX_ALPHA:  # or NaN
            raise ValueError(f"alpha: expected a finite number, got {self.alpha}")

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)`."""
        out, width = self.weight.shape
        return int(out), int(width)

    @property
    def nnz(self) -> int:
        """Number of weights that take part in the sum."""
        return self.weight.nnz if isinstance(self.weight, CSR) else int(self.weight.size)

    @property
    def sparsity(self) -> float:
        """Fraction of weights that are absent, in [0, 1]."""
        return self.weight.sparsity if isinstance(self.weight, CSR) else 0.0

    def dense_weight(self) -> Float32:
        """The weight as float32 `[out, in]`, absent entries 0."""
        return self.weight.to_dense() if isinstance(self.weight, CSR) else self.weight

    def core_argument(self) -> tuple[Any, ...]:
        """The layer as the compiled core takes it: as CSR; a dense one has no structure to give."""
        out, width = self.weight.shape
        weight = self.weight
        arrays: tuple[Any, ...]
        if isinstance(weight, CSR):
            arrays = (weight.runs, weight.indptr, weight.indices, weight.values)
        else:
            arrays = (1, None, None, weight.ravel())
        return (out, width, *arrays, self.bias, self.activation, self.alpha)

    def with_values(self, values: Float32, bias: Float32) -> Layer:
        """The same layer with other numbers under the same mask.

        Args:
            values: float32 `[nnz]` in the stored order, or `[out, in]` for a dense layer.
            bias: float32 `[out]`.

        Raises:
            ValueError: another shape, or a number is not finite.
        """
        if isinstance(self.weight, CSR):
            return replace(self, weight=self.weight.with_values(values), bias=bias)
        if np.shape(values) != self.weight.shape:
            raise ValueError(f"values: expected {self.weight.shape}, got {np.shape(values)}")
        return replace(self, weight=values, bias=bias)

    def ascending(self) -> Layer:
        """The layer in the plain order: one run per row, ascending columns."""
        weight = self.weight
        return replace(self, weight=weight.ascending() if isinstance(weight, CSR) else weight)


@dataclass(frozen=True, eq=False)
class Golden(ReadOnly):
    """Observations with the outputs and actions they must give: the file's self-test.

    Attributes:
        observations: `[n, *shape]` in the environment's dtype.
        outputs: float32 `[n, out]`, bit for bit what the network gives.
        actions: `[n, ...]`, what `predict` returns.

    All three are copied and read-only.

    Raises:
        ValueError: n is not 1 to `MAX_GOLDEN`.
    """

    observations: np.ndarray[Any, Any]
    outputs: Float32
    actions: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        _check_golden_count(self.observations)
        for name in ("observations", "outputs", "actions"):
            array = np.array(getattr(self, name), order="C")
            array.setflags(write=False)
            object.__setattr__(self, name, array)


@dataclass(frozen=True, eq=False)
class SparsePolicy:
    """Observation step, layers, action head: everything needed to act, and nothing of torch.

    Attributes:
        layers: at least one; each takes what the one before gives.
        observation: the step before the first layer.
        head: the step after the last layer.
        metadata: facts that JSON gives back as they were: environment id, library versions, return.
        order: which packer laid down the summation order (`repack`), one of `ORDERS`.
        golden: the self-test that `load` runs, or None.

    Raises:
        TypeError: a part is something else, or JSON does not give the metadata back as they were.
        ValueError: the parts do not fit together; the message names the part.
    """

    layers: tuple[Layer, ...]
    observation: Observation
    head: Head = field(default_factory=Raw)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    order: str = "ascending"
    golden: Golden | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        self._check_types()
        if not self.layers:
            raise ValueError("layers: expected at least one layer, got none")
        if self.order not in ORDERS:
            raise ValueError(f"order: expected one of {', '.join(ORDERS)}, got {self.order!r}")
        width = self.observation.size
        for number, layer in enumerate(self.layers):
            if layer.shape[1] != width:
                raise ValueError(f"layers[{number}]: expected {width} inputs, got {layer.shape[1]}")
            width = layer.shape[0]
        if isinstance(self.head, Clip | Unscale) and self.head.box.low.size != width:
            raise ValueError(
                f"head: expected bounds for {width} outputs, got {self.head.box.low.size}"
            )

    def _check_types(self) -> None:
        parts: list[tuple[str, object, Any]] = [
            *((f"layers[{number}]", layer, Layer) for number, layer in enumerate(self.layers)),
            ("observation", self.observation, Observation),
            ("head", self.head, Head),
            ("metadata", self.metadata, Mapping),
        ]
        for name, given, kind in parts:
            if not isinstance(given, kind):
                names = " or ".join(k.__name__ for k in getattr(kind, "__args__", (kind,)))
                raise TypeError(f"{name}: expected an instance of {names}, got {given!r}")
        for key, fact in self.metadata.items():
            if not _json_holds({key: fact}):
                raise TypeError(
                    f"metadata: {key}: expected what JSON gives back as it was (no tuple, NaN or "
                    f"key that is not a string), got {fact!r}"
                )

    @property
    def input_size(self) -> int:
        """Number of features the first layer takes."""
        return self.layers[0].shape[1]

    @property
    def output_size(self) -> int:
        """Number of outputs the last layer gives."""
        return self.layers[-1].shape[0]

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action; `()` for a discrete one."""
        if isinstance(self.head, Argmax):
            return ()
        if isinstance(self.head, Clip | Unscale):
            return self.head.box.shape
        return (self.output_size,)

    @property
    def nnz(self) -> int:
        """Number of weights, biases not counted."""
        return sum(layer.nnz for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """Fraction of the weights of all layers that are absent, in [0, 1]."""
        return 1.0 - self.nnz / sum(math.prod(layer.shape) for layer in self.layers)

    def repack(self, order: str) -> SparsePolicy:
        """The same policy with another summation order; the only thing that changes bits.

        Every machine runs every order with the same bits; it is fastest on the one made for it.

        Args:
            order: `"ascending"`, one run per row and ascending columns, which every format can
                follow; or the instruction set to lay it out for: `"avx512"`, `"avx2"`, `"neon"`.
                Those also change the places of hidden units. Layers that keep more than 41 % of
                their weights (35 % for `"avx2"` and `"neon"`) or take more inputs than the kernel
                that looks them up can (4096, 2048 and 1024) stay ascending, where dense kernels
                are candidates too; rows that are few and long are packed at any density.

        Raises:
            ValueError: an unknown order.
        """
        from sparseagent.repack import repack

        return repack(self, order)

    def with_values(self, values: Sequence[Float32], biases: Sequence[Float32]) -> SparsePolicy:
        """The policy with other numbers under the same masks, for `Plan.update`.

        The structure is shared and not checked again. The self-test is dropped: it was made
        with the old numbers.

        Args:
            values: one array for each layer, float32 `[nnz]` in its stored order, or `[out, in]`
                for a dense layer.
            biases: one array for each layer, float32 `[out]`.

        Raises:
            ValueError: another number of layers, another shape, or a number is not finite.
        """
        count = len(self.layers)
        for name, given in (("values", values), ("biases", biases)):
            if len(given) != count:
                raise ValueError(f"{name}: expected {count} arrays, got {len(given)}")
        layers = tuple(
            layer.with_values(*numbers)
            for layer, *numbers in zip(self.layers, values, biases, strict=True)
        )
        return replace(self, layers=layers, golden=None)

    def with_golden(self, observations: Any) -> SparsePolicy:
        """The policy with a self-test: what it gives for `observations`, `[n, *shape]`.

        They are cast to the observation's dtype, which is what the environment will hand in.

        Args:
            observations: `[n, *shape]`, n from 1 to `MAX_GOLDEN`: every load of the file runs them
                all, one slow scalar sum after the other.

        Raises:
            ValueError: another shape, or too many.
        """
        from sparseagent.reference import forward_exact

        batch = np.array(observations, self.observation.dtype, order="C")
        if batch.shape[1:] != self.observation.shape or not len(batch):
            raise ValueError(
                f"observations: expected [n, {', '.join(map(str, self.observation.shape))}], "
                f"got shape {batch.shape}"
            )
        _check_golden_count(batch)
        outputs = forward_exact(self, batch)
        return replace(self, golden=Golden(batch, outputs, self.head.apply(outputs)))

    def with_metadata(self, **facts: Any) -> SparsePolicy:
        """The policy with `facts` added to its metadata."""
        return replace(self, metadata={**self.metadata, **facts})

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file; see `sparseagent.policyfile` for its layout."""
        from sparseagent.policyfile import save

        save(self, path)

    def summary(self) -> str:
        """A table of the layers: shape, weights kept, sparsity, activation."""
        lines = [f"{'layer':<7}{'shape':>12}{'weights':>10}{'sparsity':>10}  activation"]
        for number, layer in enumerate(self.layers):
            out, width = layer.shape
            lines.append(
                f"{number:<7}{f'{width}-{out}':>12}{layer.nnz:>10}{layer.sparsity:>10.4f}"
                f"  {layer.activation}"
            )
        lines.append(f"{'all':<7}{'':>12}{self.nnz:>10}{self.sparsity:>10.4f}  -> {self.head.kind}")
        return "\n".join(lines)


def _check_golden_count(observations: np.ndarray[Any, Any]) -> None:
    if not 1 <= len(observations) <= MAX_GOLDEN:
        raise ValueError(
            f"golden: expected 1 to {MAX_GOLDEN} observations, got {len(observations)}"
        )


def _json_holds(content: Mapping[str, Any]) -> bool:
    """Whether a file would give `content` back as it is, say no tuple as a list."""
    try:
        return bool(json.loads(json.dumps(content, allow_nan=False)) == content)
    except (TypeError, ValueError):
        return False
