"""The observation statistics of Stable-Baselines3's VecNormalize, live or from its file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparseagent.agents.spaces import (
    PLAIN,
    BoxSpace,
    DictSpace,
    Space,
    inputs,
    observation_step,
)
from sparseagent.convert.archive import Archive
from sparseagent.convert.inert_pickle import Call, Name, brief, describe, read_pickle
from sparseagent.convert.pickled_numpy import array, attributes, npy_array, number
from sparseagent.csr import Float64
from sparseagent.ops import Observation

_CLASS = Name("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize")
_KEYS = ("mean", "var", "epsilon", "clip_obs")
#: Statistics of a camera's images are as large as some images.
_FILE_LIMIT = 64 << 20


@dataclass(frozen=True, eq=False)
class Normaliser:
    """`clip((x - mean) / sqrt(var + epsilon), -clip_obs, clip_obs)`, as VecNormalize computes it.

    Attributes:
        mean: float64, shaped like the observation.
        var: float64, same shape, not negative.
        epsilon: added to the variance.
        clip_obs: bound of the normalised observation, positive; may be `inf`.
        dtype: type of the observations that come in, or None if unknown.

    Raises:
        ValueError: the shapes differ or a number is out of range.
    """

    mean: Float64
    var: Float64
    epsilon: float
    clip_obs: float
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.mean.shape != self.var.shape:
            raise ValueError(
                f"vecnormalize: expected mean and var of one shape, got {self.mean.shape} and "
                f"{self.var.shape}"
            )
        if not (self.var >= 0).all() or not self.epsilon >= 0 or not self.clip_obs > 0:
            raise ValueError(
                f"vecnormalize: expected var >= 0, epsilon >= 0 and clip_obs > 0, got var from "
                f"{self.var.min(initial=0)}, epsilon {self.epsilon}, clip_obs {self.clip_obs}"
            )

    @property
    def shapes(self) -> str:
        """The observations that it is for, for messages."""
        return f"shape {self.mean.shape}"

    def of(self, name: str) -> Normaliser | None:
        """What an input of this name goes through; only a plain observation has one."""
        return self if name == PLAIN else None

    def fits(self, space: Space) -> bool:
        """Whether it is for observations of `space`."""
        return isinstance(space, BoxSpace) and space.shape == self.mean.shape

    def equals(self, other: Normaliser | DictNormaliser) -> bool:
        """Whether both do the same to an observation."""
        if not isinstance(other, Normaliser):
            return False
        scalars = (self.epsilon, self.clip_obs) == (other.epsilon, other.clip_obs)
        arrays = np.array_equal(self.mean, other.mean) and np.array_equal(self.var, other.var)
        return scalars and arrays

    def reshaped(self, shape: tuple[int, ...]) -> Normaliser:
        """The same statistics for observations of another shape."""
        return replace(self, mean=self.mean.reshape(shape), var=self.var.reshape(shape))

    def step(self, dtype: str) -> Observation:
        """The observation step for observations of `dtype`, unless a known type overrides it."""
        return Observation.normalise(
            self.mean,
            self.var,
            eps=self.epsilon,
            clip=self.clip_obs,
            dtype=self.dtype or dtype,
        )


@dataclass(frozen=True, eq=False)
class DictNormaliser:
    """The statistics of a Dict observation; entries without any are taken as they come.

    Attributes:
        parts: by the keys of the Dict.
    """

    parts: Mapping[str, Normaliser]

    @property
    def shapes(self) -> str:
        """The observations that it is for, for messages."""
        parts = (f"{key}: {part.mean.shape}" for key, part in self.parts.items())
        return f"shapes {{{', '.join(parts)}}}"

    def of(self, name: str) -> Normaliser | None:
        """What an input of this name goes through."""
        return self.parts.get(name)

    def fits(self, space: Space) -> bool:
        """Whether it is for observations of `space`."""
        if not isinstance(space, DictSpace) or not self.parts.keys() <= space.spaces.keys():
            return False
        return all(part.fits(space.spaces[key]) for key, part in self.parts.items())

    def equals(self, other: Normaliser | DictNormaliser) -> bool:
        """Whether both do the same to an observation."""
        if not isinstance(other, DictNormaliser) or self.parts.keys() != other.parts.keys():
            return False
        return all(part.equals(other.parts[key]) for key, part in self.parts.items())


def observation_steps(
    space: Space, normaliser: Normaliser | DictNormaliser | None, *, normalize_images: bool
) -> dict[str, Observation]:
    """What happens to each input of an observation before the first layer.

    Raises:
        UnsupportedError: A space that no step takes.
        ValueError: Statistics of another shape, or of what is no Box.
    """
    if normaliser is not None and not normaliser.fits(space):
        raise ValueError(
            f"vecnormalize: expected statistics for the policy's observations, {space}, got those "
            f"of {normaliser.shapes}"
        )
    steps = {}
    for name, part in inputs(space).items():
        own = None if normaliser is None else normaliser.of(name)
        step = own.step(part.dtype) if own is not None and isinstance(part, BoxSpace) else None
        steps[name] = observation_step(part, step, normalize_images=normalize_images)
    return steps


def read_normaliser(vecnormalize: Any) -> Normaliser | DictNormaliser | None:
    """The statistics in `vecnormalize`, or None where observations are not normalised.

    Args:
        vecnormalize: one of
            None or False, for no normalisation;
            a live `VecNormalize`;
            the path of a file written by `VecNormalize.save`, which is read as data and never
            unpickled, or of an `.npz` with the arrays `mean`, `var`, `epsilon`, `clip_obs`;
            a mapping with these four.

    Raises:
        TypeError: something else.
        ValueError: a file or mapping without readable statistics.
    """
    if vecnormalize is None or vecnormalize is False:
        return None
    if isinstance(vecnormalize, str | Path):
        return _from_file(Path(vecnormalize))
    if isinstance(vecnormalize, Mapping):
        return _from_mapping("vecnormalize", vecnormalize)
    if any(base.__name__ == "VecNormalize" for base in type(vecnormalize).__mro__):
        return _from_live(vecnormalize)
    raise TypeError(
        f"vecnormalize: expected a VecNormalize, the path of its file, a mapping with "
        f"{', '.join(_KEYS)}, or False, got {type(vecnormalize).__name__}"
    )


@dataclass(frozen=True, eq=False)
class Statement:
    """What is known about an agent's normaliser.

    Attributes:
        normaliser: the statistics, or None for observations as they come.
        facts: metadata: `vecnormalize`, which is "built in", "none" or "not stated", and where the
            statistics come from.
    """

    normaliser: Normaliser | DictNormaliser | None
    facts: Mapping[str, Any]


def statement_of(vecnormalize: Any) -> Statement:
    """What a caller says; see `read_normaliser` for the forms and errors."""
    normaliser = read_normaliser(vecnormalize)
    if isinstance(vecnormalize, str | Path):
        return Statement(normaliser, file_facts(Path(vecnormalize), normaliser))
    return Statement(normaliser, {"vecnormalize": _word(normaliser)})


def file_facts(file: Path, normaliser: Normaliser | DictNormaliser | None) -> dict[str, Any]:
    """The metadata of statistics that come from a file."""
    digest = hashlib.sha256(_content(file)).hexdigest()
    origin = {"name": file.name, "sha256": digest}
    return {"vecnormalize": _word(normaliser), "vecnormalize_file": origin}


def _word(normaliser: Normaliser | DictNormaliser | None) -> str:
    return "none" if normaliser is None else "built in"


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _FILE_LIMIT:
        raise ValueError(
            f"vecnormalize: {path}: expected at most {_FILE_LIMIT:,} bytes, got {size:,}"
        )
    return path.read_bytes()


def _from_live(vec: Any) -> Normaliser | DictNormaliser | None:
    if not vec.norm_obs:
        return None
    space = None if vec.venv is None else vec.venv.observation_space  # None after unpickling
    epsilon, clip = float(vec.epsilon), float(vec.clip_obs)

    def part(moments: Any, space: Any) -> Normaliser:
        mean, var = np.array(moments.mean, np.float64), np.array(moments.var, np.float64)
        return Normaliser(mean, var, epsilon, clip, None if space is None else str(space.dtype))

    if not isinstance(vec.obs_rms, dict):
        return part(vec.obs_rms, space)
    return DictNormaliser(
        {
            key: part(moments, None if space is None else space[key])
            for key, moments in vec.obs_rms.items()
        }
    )


def _from_mapping(name: str, facts: Mapping[str, Any]) -> Normaliser:
    missing = [key for key in _KEYS if key not in facts]
    if missing:
        raise ValueError(f"{name}: expected {', '.join(_KEYS)}, got none of {', '.join(missing)}")
    return Normaliser(
        np.array(facts["mean"], np.float64),
        np.array(facts["var"], np.float64),
        float(facts["epsilon"]),
        float(facts["clip_obs"]),
    )


def _from_file(path: Path) -> Normaliser | DictNormaliser | None:
    name = f"vecnormalize: {path}"
    if path.suffix == ".npz":
        return _from_npz(name, _content(path))
    node = read_pickle(name, _content(path))
    if not (isinstance(node, Call) and node.callee == _CLASS):
        raise ValueError(f"{name}: expected a pickled {_CLASS}, got {describe(node)}")
    state = attributes(name, node)
    if not number(f"{name}: norm_obs", state.get("norm_obs", True)):
        return None
    epsilon = number(f"{name}: epsilon", state.get("epsilon"))
    clip = number(f"{name}: clip_obs", state.get("clip_obs"))

    def part(name: str, node: Any) -> Normaliser:
        moments = attributes(f"{name}: obs_rms", node)
        mean, var = (array(f"{name}: {key}", moments.get(key)) for key in ("mean", "var"))
        return Normaliser(mean.astype(np.float64), var.astype(np.float64), epsilon, clip)

    statistics = state.get("obs_rms")
    if not isinstance(statistics, dict):
        return part(name, statistics)
    if not statistics or not all(isinstance(key, str) for key in statistics):
        raise ValueError(f"{name}: expected statistics by texts, got others or none")
    return DictNormaliser(
        {key: part(f"{name}: {brief(key)}", node) for key, node in statistics.items()}
    )


def _from_npz(name: str, content: bytes) -> Normaliser:
    archive = Archive(name, content)
    missing = [key for key in _KEYS if f"{key}.npy" not in archive.names]
    if missing:
        raise ValueError(f"{name}: expected {', '.join(_KEYS)}, got none of {', '.join(missing)}")
    mean, var, epsilon, clip_obs = (
        npy_array(f"{name}: {key}", archive.read(f"{key}.npy", _FILE_LIMIT)) for key in _KEYS
    )
    if epsilon.size != 1 or clip_obs.size != 1:
        raise ValueError(f"{name}: expected epsilon and clip_obs to be one number each")
    return Normaliser(
        mean.astype(np.float64), var.astype(np.float64), epsilon.item(), clip_obs.item()
    )
