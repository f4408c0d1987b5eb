"""The observation statistics of Stable-Baselines3's VecNormalize, live or from its file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparseagent.convert.archive import Archive
from sparseagent.convert.inert_pickle import Call, Name, describe, read_pickle
from sparseagent.convert.pickled_numpy import array, attributes, npy_array, number
from sparseagent.agents.unsupported import UnsupportedError
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

    def equals(self, other: Normaliser) -> bool:
        """Whether both do the same to an observation."""
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


def read_normaliser(vecnormalize: Any) -> Normaliser | None:
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
        UnsupportedError: statistics of a Dict observation.
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

    normaliser: Normaliser | None
    facts: Mapping[str, Any]


def statement_of(vecnormalize: Any) -> Statement:
    """What a caller says; see `read_normaliser` for the forms and errors."""
    normaliser = read_normaliser(vecnormalize)
    if isinstance(vecnormalize, str | Path):
        return Statement(normaliser, file_facts(Path(vecnormalize), normaliser))
    return Statement(normaliser, {"vecnormalize": _word(normaliser)})


def file_facts(file: Path, normaliser: Normaliser | None) -> dict[str, Any]:
    """The metadata of statistics that come from a file."""
    digest = hashlib.sha256(_content(file)).hexdigest()
    origin = {"name": file.name, "sha256": digest}
    return {"vecnormalize": _word(normaliser), "vecnormalize_file": origin}


def _word(normaliser: Normaliser | None) -> str:
    return "none" if normaliser is None else "built in"


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _FILE_LIMIT:
        raise ValueError(
            f"vecnormalize: {path}: expected at most {_FILE_LIMIT:,} bytes, got {size:,}"
        )
    return path.read_bytes()


def _from_live(vec: Any) -> Normaliser | None:
    if not vec.norm_obs:
        return None
    if isinstance(vec.obs_rms, dict):
        raise _dict_error()
    venv = vec.venv  # None right after unpickling
    dtype = None if venv is None else str(venv.observation_space.dtype)
    return Normaliser(
        np.array(vec.obs_rms.mean, np.float64),
        np.array(vec.obs_rms.var, np.float64),
        float(vec.epsilon),
        float(vec.clip_obs),
        dtype,
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


def _from_file(path: Path) -> Normaliser | None:
    name = f"vecnormalize: {path}"
    if path.suffix == ".npz":
        return _from_npz(name, _content(path))
    node = read_pickle(name, _content(path))
    if not (isinstance(node, Call) and node.callee == _CLASS):
        raise ValueError(f"{name}: expected a pickled {_CLASS}, got {describe(node)}")
    state = attributes(name, node)
    if not number(f"{name}: norm_obs", state.get("norm_obs", True)):
        return None
    if isinstance(state.get("obs_rms"), dict):
        raise _dict_error()
    moments = attributes(f"{name}: obs_rms", state.get("obs_rms"))
    return Normaliser(
        array(f"{name}: mean", moments.get("mean")).astype(np.float64),
        array(f"{name}: var", moments.get("var")).astype(np.float64),
        number(f"{name}: epsilon", state.get("epsilon")),
        number(f"{name}: clip_obs", state.get("clip_obs")),
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


def _dict_error() -> UnsupportedError:
    return UnsupportedError(
        "vecnormalize: expected statistics of a Box observation, got those of a Dict observation"
    )
