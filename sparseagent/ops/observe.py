"""observe: what happens to an observation before the network sees it: normalise, clip, encode."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseagent import fields
from sparseagent.csr import (
    MAX_AXES,
    MAX_WIDTH,
    Float32,
    Float64,
    Int32,
    ReadOnly,
    frozen_array,
)
from sparseagent.program import Attributes, Op, Span, Tensors

#: Types an environment may hand in; the network itself always sees float32.
DTYPES = ("float32", "float64", "uint8", "int8", "int32", "int64", "bool")
PRECISIONS = ("float64", "float32")


@dataclass(frozen=True, eq=False)
class Observation(ReadOnly):
    """Normalise, clip and cast: `z = float32(clip((x - shift) / scale, low, high))`.

    In float64 with a true division, the default, the step equals Stable-Baselines3's
    `VecNormalize` bit for bit; libraries that normalise in torch do so in float32. It belongs to
    the policy and travels in its file: losing the normaliser is the classic silent bug of
    deployed agents.

    Whole numbers that name categories become one-hot rows: `categories=(3, 2)` makes five features
    of two numbers, as Stable-Baselines3 does for MultiDiscrete observations. A number that names
    no category makes its features NaN, and with them the outputs.

    Numbers that no weight reads need not be taken: `columns` names those that are.

    Attributes:
        shape: shape of one observation; the network sees it flattened, `[in]`. `()` for
            one number that names a category.
        dtype: what the environment hands out, one of `DTYPES` or its `np.dtype`; kept as the name.
            Other types are accepted as well.
        shift: float64 `[in]` (the mean), or None for 0.
        scale: float64 `[in]`, positive (the standard deviation, eps included), or None for 1. One
            number for all, such as the 255 of images, may come as `[1]`.
        low: lower clip bound, may be `-inf`.
        high: upper clip bound, may be `inf`.
        precision: in which shift, scale and bounds are applied, `"float64"` or `"float32"`.
        categories: how many there are of each number of the observation, each from 0 on; empty for
            numbers that are taken as such.
        columns: int32 `[in]`, rising: the numbers of the flat observation that the network sees;
            None for all of them.

    Raises:
        ValueError: a bound, a shape or a number is out of range; the message names it.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    shift: Float64 | None = None
    scale: Float64 | None = None
    low: float = -math.inf
    high: float = math.inf
    precision: str = "float64"
    categories: tuple[int, ...] = ()
    columns: Int32 | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not (self.shape or self.categories) or not all(n >= 1 for n in self.shape):
            raise ValueError(f"shape: expected at least one positive axis, got {self.shape}")
        if len(self.shape) > MAX_AXES or math.prod(self.shape) > MAX_WIDTH:
            raise ValueError(
                f"shape: expected at most {MAX_AXES} axes and {MAX_WIDTH} features, got "
                f"{self.shape!s:.80}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {self.dtype!r}")
        # An np.dtype equals its name, but JSON takes the name alone.
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not self.low < self.high:
            raise ValueError(f"low, high: expected low < high, got {self.low} and {self.high}")
        self._check_columns()
        for name in ("shift", "scale"):
            object.__setattr__(self, name, self._per_feature(name))
        if self.scale is not None and not (self.scale.astype(self.precision) > 0).all():
            raise ValueError("scale: expected positive numbers, got 0 or less")
        self._check_categories()

    @property
    def size(self) -> int:
        """Number of features that the network sees."""
        return self.width if self.columns is None else self.columns.size

    @property
    def width(self) -> int:
        """Number of features that an observation has, seen or not."""
        return sum(self.categories) if self.categories else math.prod(self.shape)

    @property
    def only_casts(self) -> bool:
        """Whether what the network sees is only cast to float32."""
        unbounded = math.isinf(self.low) and math.isinf(self.high)
        return self.shift is None and self.scale is None and unbounded and not self.categories

    @property
    def is_identity(self) -> bool:
        """Whether the step only casts to float32, and takes all."""
        return self.only_casts and self.columns is None

    def taking(self, features: NDArray[np.int64]) -> Observation:
        """The step for some of its features, rising; categories are taken whole or not at all.

        Raises:
            ValueError: a step with categories, or features that do not rise.
        """
        if self.categories:
            raise ValueError("columns: expected none beside categories")
        columns = np.arange(self.width) if self.columns is None else self.columns
        parts: dict[str, Any] = {
            name: part if part is None or part.size == 1 else part[features]
            for name, part in (("shift", self.shift), ("scale", self.scale))
        }
        return replace(self, **parts, columns=columns[features].astype(np.int32))

    @classmethod
    def normalise(
        cls, mean: ArrayLike, var: ArrayLike, *, eps: float, clip: float, dtype: str = "float32"
    ) -> Observation:
        """`clip((x - mean) / sqrt(var + eps), -clip, clip)`: the rule of SB3 and Tianshou.

        Libraries differ in where eps stands; for `sqrt(var) + eps` (skrl) build `scale` yourself.
        """
        mean64 = np.asarray(mean, np.float64)
        scale = np.sqrt(np.asarray(var, np.float64) + eps)
        return cls(mean64.shape, dtype, mean64.ravel(), scale.ravel(), -clip, clip)

    def apply(self, observations: NDArray[Any]) -> Float32:
        """The step in NumPy: `[B, *shape]` -> float32 `[B, in]`, the compiled step's equal."""
        x = np.asarray(observations).reshape(len(observations), math.prod(self.shape))
        if self.categories:
            return self._one_hot(x)
        if self.columns is not None:
            x = x[:, self.columns]
        if self.only_casts:
            return x.astype(np.float32)
        z: NDArray[Any] = x.astype(self.precision)
        if self.shift is not None:
            z = z - self.shift.astype(self.precision)
        if self.scale is not None:
            z = z / self.scale.astype(self.precision)
        low, high = np.array([self.low, self.high], self.precision)
        rows: Float32 = np.clip(z, low, high).astype(np.float32)
        return rows

    def _one_hot(self, x: NDArray[Any]) -> Float32:
        parts = []
        for column, count in zip(x.T, self.categories, strict=True):
            names = np.arange(count)[None, :] == column[:, None]
            parts.append(np.where(names.any(axis=1, keepdims=True), names, np.float32(np.nan)))
        rows: Float32 = np.concatenate(parts, axis=1).astype(np.float32)
        return rows

    def _check_categories(self) -> None:
        object.__setattr__(self, "categories", tuple(int(n) for n in self.categories))
        if not self.categories:
            return
        numbers = math.prod(self.shape)
        if len(self.categories) != numbers or min(self.categories) < 1 or self.size > MAX_WIDTH:
            raise ValueError(
                f"categories: expected one positive count for each of {numbers} numbers, at most "
                f"{MAX_WIDTH} in all, got {self.categories}"
            )
        if np.dtype(self.dtype).kind not in "iu":
            raise ValueError(f"dtype: expected whole numbers with categories, got {self.dtype}")
        plain = self.shift is None and self.scale is None
        if not plain or not (math.isinf(self.low) and math.isinf(self.high)):
            raise ValueError("categories: expected no shift, scale or bounds beside them")

    def _check_columns(self) -> None:
        if self.columns is None:
            return
        columns = frozen_array("columns", self.columns, np.int32, 1)
        object.__setattr__(self, "columns", columns)
        width = math.prod(self.shape)
        rising = bool((np.diff(columns) > 0).all())
        if not columns.size or not rising or columns[0] < 0 or columns[-1] >= width:
            raise ValueError(f"columns: expected to rise within {width} numbers, got others")
        if self.categories:
            raise ValueError("columns: expected none beside categories")

    def _per_feature(self, name: str) -> Float64 | None:
        given = getattr(self, name)
        if given is None:
            return None
        array = np.array(given, np.float64).ravel()
        whole = math.prod(self.shape) if self.columns is None else self.columns.size
        sizes = (whole, 1) if name == "scale" else (whole,)
        if array.size not in sizes:
            raise ValueError(f"{name}: expected {sizes[0]} numbers, got {array.size}")
        if not np.isfinite(array.astype(self.precision)).all():
            raise ValueError(f"{name}: expected finite numbers, got Inf or NaN")
        array.setflags(write=False)
        return array


@dataclass(frozen=True, eq=False)
class Observe(Op):
    """An input of the program, taken through its observation step.

    Attributes:
        input: the name under which a Dict observation holds it; `"observation"` for a plain one.
        step: what happens to it.
    """

    kind: ClassVar[str] = "observe"

    input: str
    step: Observation

    @property
    def since(self) -> int:
        step = self.step
        one_scale = step.scale is not None and step.scale.size != step.size
        plain = step.precision == "float64" and not step.categories and not one_scale
        plain = plain and step.columns is None
        return 1 if plain and step.shape and self.input == "observation" else 2

    def check(self) -> None:
        if self.reads or len(self.writes) != 1 or self.out_size != self.step.size:
            raise ValueError(
                f"expected no reads and one span of {self.step.size} features, got "
                f"{len(self.reads)} reads and {self.out_size} features"
            )

    def attributes(self) -> Attributes:
        step = self.step
        bounds = [None if math.isinf(bound) else bound for bound in (step.low, step.high)]
        return {
            "input": self.input,
            "shape": list(step.shape),
            "dtype": step.dtype,
            "low": bounds[0],
            "high": bounds[1],
            "precision": step.precision,
            "categories": list(step.categories),
        }

    def tensors(self) -> Tensors:
        step = self.step
        arrays = {"shift": step.shift, "scale": step.scale, "columns": step.columns}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def read(
        cls,
        reads: tuple[Span, ...],
        writes: tuple[Span, ...],
        attributes: Attributes,
        tensors: Tensors,
    ) -> Observe:
        for name in ("shift", "scale"):
            if name in tensors and (tensors[name].dtype != np.float64 or tensors[name].ndim != 1):
                raise ValueError(
                    f"{name}: expected float64 of one axis, got {tensors[name].dtype} "
                    f"{tensors[name].shape}"
                )
        given = {"precision": "float64", "categories": [], **attributes}  # newer than the others
        low, high = fields.bound(given, "low"), fields.bound(given, "high")
        step = Observation(
            fields.wholes(given, "shape"),
            fields.text(given, "dtype"),
            tensors.get("shift"),
            tensors.get("scale"),
            -math.inf if low is None else low,
            math.inf if high is None else high,
            fields.text(given, "precision"),
            fields.wholes(given, "categories"),
            tensors.get("columns"),
        )
        return cls(reads, writes, fields.text(given, "input"), step)

    def float64(self, *x: Float64) -> Float64:
        """What `Observation.apply` has prepared, as it is."""
        return x[0]

    def bound(self, x: tuple[Float64, ...], error: tuple[Float64, ...]) -> Float64:
        """Nothing is added: the compiled step gives the bits of `Observation.apply`."""
        return error[0]
