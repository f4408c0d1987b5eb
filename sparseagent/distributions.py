"""Heads that sample: distributions over actions, of which the mode is the deterministic action.

A head reads the first output of the program; where a distribution has parameters that the network
computes as well, it reads further outputs by name: `log_std` (`DiagGaussian`) and `latent`
(`GSDE`). An output named `value` is no part of a head: the plan hands it out beside the action.

What a sample and its log-probability are, operation by operation, is the arithmetic contract of
`docs/sampling.md`: the same bits on every instruction set, whatever the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sparseagent import _core, fields
from sparseagent.csr import Float32, frozen_array
from sparseagent.head import Argmax, Attributes, Clip, Head, Raw, Tensors, Unscale

#: Words that one row can draw at one step: 2^24 blocks of four.
MAX_DRAWS: int = _core.MAX_DRAWS
#: Bounds of what `start` may be.
MAX_START = (1 << 31) - 1

_BOUNDS: dict[str, type[Raw] | type[Clip] | type[Unscale]] = {
    kind.kind: kind for kind in (Raw, Clip, Unscale)
}


@dataclass(frozen=True, eq=False)
class Categorical(Head):
    """One of n actions by its logit: int64 `[B]`, the index plus `start`.

    The deterministic action is that of `Argmax`. Takes `action_masks`: the logit of an action that
    is masked counts as -1e8, as in sb3-contrib's MaskablePPO, so where all are masked all are
    equally likely.

    Attributes:
        start: the action of the first logit, as in gymnasium's `Discrete`.
    """

    kind: ClassVar[str] = "categorical"
    samples: ClassVar[bool] = True
    since: ClassVar[int] = 2

    start: int = 0

    def __post_init__(self) -> None:
        _check_start(self.start)

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        return "int64", ()

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """Logits `[B, n]` -> int64 `[B]`."""
        return Argmax().apply(outputs) + np.int64(self.start)

    def attributes(self) -> Attributes:
        return {"start": self.start}

    @classmethod
    def read(cls, attributes: Attributes, tensors: Tensors) -> Head:
        return cls(fields.whole(attributes, "start"))


@dataclass(frozen=True, eq=False)
class MultiCategorical(Head):
    """Several independent choices, each by logits of its own: int64 `[B, choices]`.

    The log-probability of an action is the sum of theirs. Takes `action_masks` like `Categorical`,
    one behind the other, as sb3-contrib does; its masked MultiBinary is this with sizes of 2.

    Attributes:
        sizes: how many actions each choice has, at least 1; together as many as there are outputs.
        starts: the action of each choice's first logit; empty for zeros.
    """

    kind: ClassVar[str] = "multi_categorical"
    samples: ClassVar[bool] = True
    since: ClassVar[int] = 2

    sizes: tuple[int, ...]
    starts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(int(size) for size in self.sizes))
        starts = tuple(int(start) for start in self.starts) or (0,) * len(self.sizes)
        object.__setattr__(self, "starts", starts)
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"sizes: expected one or more, each at least 1, got {self.sizes}")
        if len(starts) != len(self.sizes):
            raise ValueError(f"starts: expected {len(self.sizes)} numbers, got {len(starts)}")
        for start in starts:
            _check_start(start)

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        if sum(self.sizes) != outputs:
            raise ValueError(f"sizes: expected {outputs} together, got {sum(self.sizes)}")
        return "int64", (len(self.sizes),)

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """Logits `[B, sum(sizes)]` -> int64 `[B, choices]`."""
        groups = np.split(outputs, np.cumsum(self.sizes)[:-1], axis=1)
        indices = np.stack([group.argmax(axis=1) for group in groups], axis=1)
        return indices.astype(np.int64) + np.array(self.starts, np.int64)

    def attributes(self) -> Attributes:
        return {"sizes": list(self.sizes), "starts": list(self.starts)}

    @classmethod
    def read(cls, attributes: Attributes, tensors: Tensors) -> Head:
        sizes, starts = (fields.wholes(attributes, name) for name in ("sizes", "starts"))
        if len(starts) != len(sizes):
            raise ValueError(f"starts: expected {len(sizes)} numbers, got {len(starts)}")
        return cls(sizes, starts)


@dataclass(frozen=True, eq=False)
class Bernoulli(Head):
    """Independent bits, each 1 with the probability sigmoid(logit): int64 `[B, out]`.

    The deterministic action is 1 where the logit is above 0.
    """

    kind: ClassVar[str] = "bernoulli"
    samples: ClassVar[bool] = True
    since: ClassVar[int] = 2

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        return "int64", (outputs,)

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """Logits `[B, out]` -> int64 `[B, out]`."""
        return (outputs > 0).astype(np.int64)


@dataclass(frozen=True, eq=False)
class EpsilonGreedy(Head):
    """DQN: the largest output, or with the probability `epsilon` any action: int64 `[B]`.

    The deterministic action is that of `Argmax`. Every row decides for itself whether it explores;
    Stable-Baselines3 draws once for the whole batch.

    Attributes:
        epsilon: 0, or in [1e-30, 1]; the greedy action may be drawn then, too.
        start: the action of the first output, as in gymnasium's `Discrete`.
    """

    kind: ClassVar[str] = "epsilon_greedy"
    samples: ClassVar[bool] = True
    since: ClassVar[int] = 2
    learnt: ClassVar[str] = "epsilon"

    epsilon: float
    start: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", _single(self.epsilon))
        if not (self.epsilon == 0 or 1e-30 <= self.epsilon <= 1):
            raise ValueError(f"epsilon: expected 0, or 1e-30 to 1, got {self.epsilon}")
        _check_start(self.start)

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        return "int64", ()

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """`[B, n]` -> int64 `[B]`."""
        return Argmax().apply(outputs) + np.int64(self.start)

    def attributes(self) -> Attributes:
        return {"epsilon": self.epsilon, "start": self.start}

    @classmethod
    def read(cls, attributes: Attributes, tensors: Tensors) -> Head:
        return cls(fields.number(attributes, "epsilon"), fields.whole(attributes, "start"))


@dataclass(frozen=True, eq=False)
class Continuous(Head):
    """A normal distribution about the first output: what `DiagGaussian` and `GSDE` have in common.

    A sample may be squashed by tanh; then `bounds` makes it an action. Its log-probability is that
    of the sample, before the bounds, as the libraries' buffers hold it; with `squash`
    `sum(log(1 - a^2 + eps))` is taken off.

    The deterministic action is that of the mean.
    """

    samples: ClassVar[bool] = True
    since: ClassVar[int] = 2

    bounds: Raw | Clip | Unscale = field(default_factory=Raw, kw_only=True)
    squash: bool = field(default=False, kw_only=True)
    eps: float = field(default=1e-6, kw_only=True)

    def __post_init__(self) -> None:
        if type(self.bounds) not in _BOUNDS.values():
            raise TypeError(f"bounds: expected a Raw, Clip or Unscale head, got {self.bounds!r}")
        object.__setattr__(self, "eps", _single(self.eps))
        if not 1e-30 <= self.eps <= 1:
            raise ValueError(f"eps: expected 1e-30 to 1, got {self.eps}")

    def action_of(self, outputs: int) -> tuple[str, tuple[int, ...]]:
        return self.bounds.action_of(outputs)

    def apply(self, outputs: Float32) -> NDArray[Any]:
        """Means `[B, out]` -> float32 `[B, *shape]`."""
        return self.bounds.apply(_core.activate("tanh", outputs) if self.squash else outputs)

    def attributes(self) -> Attributes:
        return {"bounds": self.bounds.kind, "squash": self.squash, "eps": self.eps}

    def tensors(self) -> Tensors:
        return self.bounds.tensors()

    @staticmethod
    def _shared(attributes: Attributes, tensors: Tensors) -> dict[str, Any]:
        kind = fields.text(attributes, "bounds")
        if kind not in _BOUNDS:
            raise ValueError(f"bounds: expected one of {', '.join(_BOUNDS)}, got {kind!r:.80}")
        return {
            "bounds": _BOUNDS[kind].read({}, tensors),
            "squash": fields.truth(attributes, "squash"),
            "eps": fields.number(attributes, "eps"),
        }


@dataclass(frozen=True, eq=False)
class DiagGaussian(Continuous):
    """A normal distribution for each number: `mean + exp(log_std) * z`, float32 `[B, *shape]`.

    With `squash` it is SAC's (Haarnoja et al., 2018).

    Attributes:
        log_std: logarithm of the standard deviations, float32 `[out]`; None to read it from the
            output named `log_std`, which must have as many features as the first.
        log_std_range: lowest and highest `log_std` that counts, SAC's (-20, 2); None for none.
            Beyond [-87, 88] none counts.
        bounds: what makes an action of a sample: `Raw`, `Clip` or `Unscale`.
        squash: whether the tanh of a sample is taken.
        eps: what keeps the squashed log-probability finite.

    Raises:
        ValueError: numbers that are not finite, or a range that is none.
        TypeError: `bounds` is another head, or `log_std` has another dtype.
    """

    kind: ClassVar[str] = "diag_gaussian"
    learnt: ClassVar[str] = "log_std"

    log_std: Float32 | None = None
    log_std_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.log_std is not None:
            _freeze_finite(self, "log_std", 1)
        if self.log_std_range is not None:
            low, high = (_single(bound) for bound in self.log_std_range)
            object.__setattr__(self, "log_std_range", (low, high))
            if not (low <= high and math.isfinite(low) and math.isfinite(high)):
                raise ValueError(f"log_std_range: expected low <= high, got {low} and {high}")

    def check(self, outputs: Mapping[str, int]) -> None:
        super().check(outputs)
        size = next(iter(outputs.values()))
        if self.log_std is None:
            _check_output("log_std", size, outputs)
        elif self.log_std.size != size:
            raise ValueError(f"log_std: expected {size} numbers, got {self.log_std.size}")

    def attributes(self) -> Attributes:
        limits = None if self.log_std_range is None else list(self.log_std_range)
        return {**super().attributes(), "log_std_range": limits}

    def tensors(self) -> Tensors:
        own = {} if self.log_std is None else {"log_std": self.log_std}
        return {**super().tensors(), **own}

    @classmethod
    def read(cls, attributes: Attributes, tensors: Tensors) -> Head:
        limits = attributes["log_std_range"]
        if limits is not None:
            pair = fields.items(attributes, "log_std_range")
            if len(pair) != 2:
                raise ValueError(f"log_std_range: expected two numbers, got {pair!r:.80}")
            named = dict(zip(("low", "high"), pair, strict=True))
            limits = (fields.number(named, "low"), fields.number(named, "high"))
        return cls(tensors.get("log_std"), limits, **cls._shared(attributes, tensors))


@dataclass(frozen=True, eq=False)
class GSDE(Continuous):
    """Noise that depends on the state (gSDE, Raffin et al., 2021): float32 `[B, *shape]`.

    `mean + latent @ (std * z)`: the matrix z is drawn anew every `resample` steps only, so that
    noise is smooth in time; `latent` is the output of that name. The log-probability is that of a
    normal distribution of variance `latent^2 @ std^2 + eps`.

    Attributes:
        std: standard deviations of the weights, float32 `[latent, out]`, finite and at least 0.
        resample: steps for which a matrix holds; 0 for ever.
        bounds: what makes an action of a sample: `Raw`, `Clip` or `Unscale`.
        squash: whether the tanh of a sample is taken (Stable-Baselines3's `squash_output`).
        eps: what keeps variance and squashed log-probability away from 0.

    Raises:
        ValueError: numbers that are not finite or negative, or too many.
        TypeError: `bounds` is another head, or `std` has another dtype.
    """

    kind: ClassVar[str] = "gsde"
    learnt: ClassVar[str] = "std"

    std: Float32
    resample: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _freeze_finite(self, "std", 2)
        if not 1 <= self.std.size <= MAX_DRAWS:
            raise ValueError(f"std: expected 1 to {MAX_DRAWS} numbers, got {self.std.size}")
        if not ((self.std >= 0) & (self.std <= 1e18)).all():
            raise ValueError("std: expected numbers from 0 to 1e18")
        if not 0 <= self.resample <= MAX_START:
            raise ValueError(f"resample: expected 0 to {MAX_START}, got {self.resample}")

    def check(self, outputs: Mapping[str, int]) -> None:
        super().check(outputs)
        size = next(iter(outputs.values()))
        if self.std.shape[1] != size:
            raise ValueError(f"std: expected [latent, {size}], got {self.std.shape}")
        _check_output("latent", self.std.shape[0], outputs)

    def attributes(self) -> Attributes:
        return {**super().attributes(), "resample": self.resample}

    def tensors(self) -> Tensors:
        return {**super().tensors(), "std": self.std}

    @classmethod
    def read(cls, attributes: Attributes, tensors: Tensors) -> Head:
        resample = fields.whole(attributes, "resample")
        return cls(tensors["std"], resample, **cls._shared(attributes, tensors))


#: Every head, by the kind that files use.
HEADS: Mapping[str, type[Head]] = {
    head.kind: head
    for head in (
        Raw,
        Argmax,
        Clip,
        Unscale,
        Categorical,
        MultiCategorical,
        Bernoulli,
        DiagGaussian,
        GSDE,
        EpsilonGreedy,
    )
}


def _single(value: float) -> float:
    """The float32 that a number becomes."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _check_start(start: int) -> None:
    if not -MAX_START <= start <= MAX_START:
        raise ValueError(f"start: expected -{MAX_START} to {MAX_START}, got {start}")


def _check_output(name: str, size: int, outputs: Mapping[str, int]) -> None:
    others = list(outputs)[1:]
    if name not in others or outputs[name] != size:
        raise ValueError(
            f"head: expected an output {name!r} of {size} features behind the first, got "
            f"{', '.join(f'{other} of {outputs[other]}' for other in others) or 'none'}"
        )


def _freeze_finite(head: Head, name: str, axes: int) -> None:
    object.__setattr__(head, name, frozen_array(name, getattr(head, name), np.float32, axes))
    if not np.isfinite(getattr(head, name)).all():
        raise ValueError(f"{name}: expected finite numbers, got Inf or NaN")
