"""What a training needs besides its model to go on with the same bits."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Iterator
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import torch
from gymnasium.utils import EzPickle
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles the state of environments, and refers to the environments themselves by number."""

    def __init__(self, stream: io.BytesIO, levels: list[Any]) -> None:
        super().__init__(stream)
        self._numbers = {id(level): number for number, level in enumerate(levels)}

    def persistent_id(self, thing: Any) -> int | None:
        number = self._numbers.get(id(thing))
        if number is None and isinstance(thing, EzPickle):
            # It would be pickled as the arguments it was made from, without its state.
            raise TypeError(f"cannot save the state of {type(thing).__name__}")
        return number


class _Unpickler(pickle.Unpickler):
    """Finds the environments that are referred to by number in a fresh set of them."""

    def __init__(self, stream: io.BytesIO, levels: list[Any]) -> None:
        super().__init__(stream)
        self._levels = levels

    def persistent_load(self, pid: Any) -> Any:
        return self._levels[pid]


def save_world(model: BaseAlgorithm) -> tuple[bytes, str]:
    """The state of all random generators and environments of a model.

    Returns:
        The state and an empty text; or nothing, and why. It cannot be had where an environment
        cannot be pickled (Box2D), and under state-dependent exploration, whose noise lives on in
        the policy.
    """
    if model.use_sde:
        return b"", "the noise of state-dependent exploration cannot be saved"
    levels = list(_levels(model))
    stream = io.BytesIO()
    try:
        _Pickler(stream, levels).dump(_state(model, levels))
    except Exception as error:  # an extension type may refuse to be pickled in any way
        core = type(levels[-1]).__name__
        return b"", f"the state of {core} cannot be saved ({error})"
    return stream.getvalue(), ""


def load_world(model: BaseAlgorithm, saved: bytes) -> None:
    """Put a model's fresh environments and all random generators into a saved state.

    Runs what the pickle says: check where it comes from first.
    """
    levels = list(_levels(model))
    state = _Unpickler(io.BytesIO(saved), levels).load()
    for level, attributes in zip(levels, state["levels"], strict=True):
        vars(level).clear()
        vars(level).update(attributes)
    if (normalizer := model.get_vec_normalize_env()) is not None:
        normalizer.returns = state["returns"]
    vars(model.action_space)["_np_random"] = state["actions"]
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002 - what the library draws from
    torch.set_rng_state(state["torch"])


def _state(model: BaseAlgorithm, levels: list[Any]) -> dict[str, Any]:
    normalizer = model.get_vec_normalize_env()
    return {
        "levels": [dict(vars(level)) for level in levels],
        "returns": None if normalizer is None else normalizer.returns,
        "actions": vars(model.action_space)["_np_random"],
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - what the library draws from
        "torch": torch.get_rng_state(),
    }


def _levels(model: BaseAlgorithm) -> Iterator[Any]:
    """Every environment of a model, from its outermost wrapper to its core."""
    vec: Any = model.get_env()
    while isinstance(vec, VecNormalize):
        vec = vec.venv
    assert isinstance(vec, DummyVecEnv)
    yield vec
    for outermost in vec.envs:
        level = outermost
        yield level
        while isinstance(level, gymnasium.Wrapper):
            level = level.env
            yield level
