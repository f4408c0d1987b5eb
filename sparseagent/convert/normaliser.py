"""The observation statistics of Stable-Baselines3's VecNormalize, live or from its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparseagent.convert.inert_pickle import Call, Name, describe, read_pickle
from sparseagent.convert.pickled_numpy import array, attributes, number
from sparseagent.csr import Float64
from sparseagent.ops import Observation

_CLASS = Name("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize")
_KEYS = ("mean", "var", "epsilon", "clip_obs")


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
        TypeError: something else, or statistics of a Dict observation.
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
        with np.load(path, allow_pickle=False) as arrays:
            return _from_mapping(name, arrays)
    node = read_pickle(name, path.read_bytes())
    if not (isinstance(node, Call) and node.callee == _CLASS):
        raise ValueError(f"{name}: expected a pickled {_CLASS}, got {describe(node)}")
    state = attributes(name, node)
    if not state.get("norm_obs", True):
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


def _dict_error() -> TypeError:
    return TypeError(
        "vecnormalize: expected statistics of a Box observation, got those of a Dict observation"
    )
