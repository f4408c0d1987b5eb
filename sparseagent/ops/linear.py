"""linear: `y = activation(W x + b)`, the op that is pruned, and by far the one that costs most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sparseagent import fields
from sparseagent.csr import CSR, Float32, Float64, ReadOnly, check_shape, finite_array
from sparseagent.ops.activation import activate, activation_bound, check_activation
from sparseagent.program import Attributes, Op, Span, Tensors


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
            dense = finite_array("weight", self.weight, ndim=2)
            check_shape("weight: shape", dense.shape)
            object.__setattr__(self, "weight", dense)
        object.__setattr__(self, "bias", finite_array("bias", self.bias))
        if self.bias.size != self.shape[0]:
            raise ValueError(
                f"bias: expected {self.shape[0]} numbers for a layer {self.shape}, "
                f"got {self.bias.size}"
            )
        object.__setattr__(self, "alpha", float(self.alpha))
        check_activation(self.activation, self.alpha)

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
class LayerOp(Op):
    """An op with a layer, of which files hold the matrix, the bias and the activation.

    Attributes:
        layer: matrix, bias and activation.
    """

    layer: Layer

    def attributes(self) -> Attributes:
        weight = self.layer.weight
        spec: Attributes = {
            "shape": list(self.layer.shape),
            "activation": self.layer.activation,
            "alpha": self.layer.alpha,
            "kind": "csr" if isinstance(weight, CSR) else "dense",
        }
        if isinstance(weight, CSR):
            spec["runs"] = weight.runs
        return spec

    def tensors(self) -> Tensors:
        weight = self.layer.weight
        if not isinstance(weight, CSR):
            return {"bias": self.layer.bias, "weight": weight}
        narrow = weight.shape[1] <= 1 << 16
        return {
            "bias": self.layer.bias,
            "indptr": weight.indptr,
            "indices": weight.indices.astype(np.uint16 if narrow else np.int32),
            "values": weight.values,
        }

    @staticmethod
    def read_layer(attributes: Attributes, tensors: Tensors) -> Layer:
        """The layer that `attributes()` and `tensors()` describe."""
        shape = fields.wholes(attributes, "shape")
        if len(shape) != 2:
            raise ValueError(f"expected shape (out, in), got {shape}")
        weight: Any
        if attributes["kind"] == "csr":
            indices = tensors["indices"]
            if indices.dtype not in (np.uint16, np.int32):
                raise ValueError(f"indices: expected uint16 or int32, got {indices.dtype}")
            weight = CSR(
                (shape[0], shape[1]),
                tensors["indptr"],
                indices.astype(np.int32),
                tensors["values"],
                fields.whole(attributes, "runs"),
            )
        elif attributes["kind"] == "dense":
            weight = tensors["weight"]
            if weight.shape != shape:
                raise ValueError(f"weight: expected shape {shape}, got {weight.shape}")
        else:
            raise ValueError(f"expected kind csr or dense, got {attributes['kind']!r}")
        activation = fields.text(attributes, "activation")
        alpha = fields.number(attributes, "alpha")
        return Layer(weight, tensors["bias"], activation, alpha)


@dataclass(frozen=True, eq=False)
class Linear(LayerOp):
    """A layer: its inputs are the features of all reads, one behind the other."""

    kind: ClassVar[str] = "linear"

    @property
    def since(self) -> int:
        return 1

    def check(self) -> None:
        out, width = self.layer.shape
        if len(self.writes) != 1 or self.out_size != out or self.in_size != width:
            raise ValueError(
                f"expected {width} inputs and one span of {out} outputs for a layer of shape "
                f"{self.layer.shape}, got {self.in_size} and {self.out_size} in "
                f"{len(self.writes)} spans"
            )

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Linear:
        return cls(reads, writes, cls.read_layer(attributes, tensors))

    def float64(self, *x: Float64) -> Float64:
        weight = self.layer.dense_weight().astype(np.float64)
        total = np.concatenate(x, axis=1) @ weight.T + self.layer.bias
        return activate(self.layer.activation, self.layer.alpha, total)

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        """gamma(n) (|b| + |W| |x|) for the sum of n terms (Higham, 2002, section 3.1).

        The error of the inputs is carried through |W|. Every sum may also lose half a denormal at
        each step; a whole one covers what gamma makes of that.
        """
        given, off = np.concatenate(x, axis=1), np.concatenate(error, axis=1)
        weight = self.layer.dense_weight().astype(np.float64).T
        terms = np.count_nonzero(weight, axis=0) + 1
        gamma = terms * 2.0**-24 / (1 - terms * 2.0**-24)
        magnitude = (np.abs(given) + off) @ np.abs(weight) + np.abs(self.layer.bias)
        carried = off @ np.abs(weight) + gamma * magnitude + terms * 2.0**-149
        total = given @ weight + self.layer.bias
        return activation_bound(self.layer.activation, self.layer.alpha, total, carried)
