"""Wrappers between a live model's environment and its policy: built in, named, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from sb3_models import ASYMMETRIC, OBSERVED, Noise, assert_same_actions, make_model
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecNormalize,
)

import sparseagent as sa

Wrap = Callable[[Any], Any]
SQUARE = spaces.Box(-2, 2, (2, 3), np.float64)


def model_of(*wrap: Wrap, space: spaces.Box = OBSERVED, steps: int = 20) -> Any:
    """A PPO whose single environment has the wrappers, innermost first, and has been played."""
    env: Any = Noise(space, ASYMMETRIC)
    for put in wrap:
        env = put(env)
    model = make_model("PPO", env=env)
    vec = model.get_env()
    vec.reset()
    for _ in range(steps):
        vec.step(np.array([vec.action_space.sample()]))
    return model


def seen(space: spaces.Box = OBSERVED, count: int = 20) -> np.ndarray[Any, Any]:
    space.seed(1)
    return np.stack([space.sample() for _ in range(count)])


def normalised_by(wrapper: Any) -> Callable[[Any], Any]:
    """What gymnasium's own code makes of raw observations, with its statistics frozen."""
    wrapper.update_running_mean = False

    def normalise(observations: Any) -> Any:
        one = np.ndim(observations) == len(wrapper.observation_space.shape)
        batch = [observations] if one else observations
        made = np.stack([wrapper.observation(observation) for observation in batch])
        return made[0] if one else made

    return normalise


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize_observation_is_built_in(dtype: type) -> None:
    space = spaces.Box(-3, 9, (5,), dtype)
    wrap = lambda env: wrappers.NormalizeObservation(env, epsilon=1e-3)  # noqa: E731
    model = model_of(wrap, Monitor, space=space)
    policy = sa.from_sb3(model)
    inner = model.get_env().envs[0].env
    assert isinstance(inner, wrappers.NormalizeObservation)
    normalise = normalised_by(inner)
    ours, theirs = policy.observation.apply(seen(space)), normalise(seen(space))
    if dtype is np.float64:
        np.testing.assert_array_equal(ours, theirs)
    else:  # they subtract and divide in float32
        np.testing.assert_allclose(ours, theirs, rtol=3e-7, atol=1e-7)
    assert_same_actions(model, policy, seen(space), normalise)
    assert policy.observation.dtype == np.dtype(dtype).name
    assert (policy.observation.low, policy.observation.high) == (-np.inf, np.inf)
    assert policy.metadata["vecnormalize"] == "built in"
    assert policy.metadata["normaliser"] == "NormalizeObservation"
    assert "wrappers" not in policy.metadata


def test_stating_that_observations_arrive_normalised_names_the_wrapper() -> None:
    model = model_of(wrappers.NormalizeObservation)
    policy = sa.from_sb3(model, vecnormalize=False)
    assert policy.observation.is_identity
    assert policy.metadata["wrappers"] == ["NormalizeObservation"]


def test_environments_with_different_statistics_are_refused() -> None:
    make = lambda: wrappers.NormalizeObservation(Noise(OBSERVED, ASYMMETRIC))  # noqa: E731
    vec = DummyVecEnv([make, make])
    model = make_model("PPO", env=vec)
    assert sa.from_sb3(model).metadata["vecnormalize"] == "built in"  # none has seen anything
    vec.seed(3)
    vec.reset()
    with pytest.raises(ValueError, match=r"vecnormalize: .* got 2 environments whose NormalizeObs"):
        sa.from_sb3(model)
    first = vec.envs[0]
    given = {
        "mean": first.obs_rms.mean, "var": first.obs_rms.var, "epsilon": 1e-8, "clip_obs": np.inf
    }  # fmt: skip
    policy = sa.from_sb3(model, vecnormalize=given)
    assert_same_actions(model, policy, seen(), normalised_by(first))
    assert "wrappers" not in policy.metadata


def test_a_flattened_box_is_taken_as_it_was() -> None:
    for wrap in (
        (wrappers.FlattenObservation,),
        (wrappers.NormalizeObservation, wrappers.FlattenObservation),
        (wrappers.FlattenObservation, wrappers.NormalizeObservation),
    ):
        model = model_of(*wrap, space=SQUARE)
        policy = sa.from_sb3(model)
        assert policy.observation.shape == (2, 3)
        assert "wrappers" not in policy.metadata
        raw = seen(SQUARE)
        outer = model.get_env().envs[0].env
        chain = [w for w in (outer, outer.env) if isinstance(w, gymnasium.Wrapper)]
        for wrapper in chain:
            if isinstance(wrapper, wrappers.NormalizeObservation):
                wrapper.update_running_mean = False

        def through(batch: Any, chain: list[Any] = chain) -> Any:
            one = np.ndim(batch) == 2
            made = []
            for observation in [batch] if one else batch:
                x = observation
                for wrapper in reversed(chain):
                    x = wrapper.observation(x)
                made.append(x)
            return made[0] if one else np.stack(made)

        assert_same_actions(model, policy, raw, through)


NAMED: dict[str, tuple[tuple[Wrap, ...], list[str]]] = {
    "stack": ((lambda e: wrappers.FrameStackObservation(e, 3),), ["FrameStackObservation"]),
    "rescale-action": (
        (lambda e: wrappers.RescaleAction(e, np.float32(-1), np.float32(1)),),
        ["RescaleAction"],
    ),
    "transform": (
        (lambda e: wrappers.TransformObservation(e, lambda x: -x, e.observation_space),),
        ["TransformObservation"],
    ),
    "two": (
        (
            lambda e: wrappers.RescaleObservation(e, np.float32(0), np.float32(1)),
            lambda e: wrappers.TransformObservation(e, lambda x: -x, e.observation_space),
        ),
        ["RescaleObservation", "TransformObservation"],
    ),
    "harmless": (
        (wrappers.RecordEpisodeStatistics, lambda e: wrappers.TimeLimit(e, 9), Monitor),
        [],
    ),
}


@pytest.mark.parametrize("case", NAMED)
def test_other_wrappers_are_named(case: str) -> None:
    wrap, names = NAMED[case]
    space = spaces.Box(-1, 1, (5,), np.float32)
    assert sa.from_sb3(model_of(*wrap, space=space)).metadata.get("wrappers", []) == names


class Mine(gymnasium.ObservationWrapper[Any, Any, Any]):
    """A wrapper of the user's own."""

    def observation(self, observation: Any) -> Any:
        return -observation


class Monitoring(Mine):
    """Shares nothing with the Monitor but a part of its name."""


Monitoring.__name__ = "Monitor"


def test_wrappers_of_ones_own_are_named_with_their_module() -> None:
    assert sa.from_sb3(model_of(Mine)).metadata["wrappers"] == [f"{__name__}.Mine"]
    assert sa.from_sb3(model_of(Monitoring)).metadata["wrappers"] == [f"{__name__}.Monitor"]


def test_a_normaliser_below_another_wrapper_is_refused() -> None:
    stack = lambda env: wrappers.FrameStackObservation(env, 2)  # noqa: E731
    model = model_of(wrappers.NormalizeObservation, stack)
    with pytest.raises(ValueError, match=r"NormalizeObservation to be what .* vecnormalize=False"):
        sa.from_sb3(model)
    policy = sa.from_sb3(model, vecnormalize=False)
    assert policy.metadata["wrappers"] == ["NormalizeObservation", "FrameStackObservation"]
    vec = DummyVecEnv([lambda: wrappers.NormalizeObservation(Noise(OBSERVED, ASYMMETRIC))])
    for outer in (VecFrameStack(vec, 2), VecNormalize(vec, norm_obs=True)):
        with pytest.raises(ValueError, match="vecnormalize: expected"):
            sa.from_sb3(make_model("PPO", env=outer))


def test_a_vecnormalize_over_a_normaliser_keeps_the_inner_one_outside() -> None:
    vec = VecNormalize(
        DummyVecEnv([lambda: wrappers.NormalizeObservation(Noise(OBSERVED, ASYMMETRIC))])
    )
    policy = sa.from_sb3(make_model("PPO", env=vec), vecnormalize=vec)
    assert policy.metadata["wrappers"] == ["NormalizeObservation"]


def test_vector_wrappers_are_named() -> None:
    stacked = VecFrameStack(DummyVecEnv([lambda: Noise(OBSERVED, ASYMMETRIC)]), 2)
    assert sa.from_sb3(make_model("PPO", env=stacked)).metadata["wrappers"] == ["VecFrameStack"]


def make_pendulum() -> Any:
    env = gymnasium.make("Pendulum-v1")
    return wrappers.RecordEpisodeStatistics(wrappers.NormalizeObservation(env, epsilon=1e-2))


def make_delayed() -> Any:
    return wrappers.DelayObservation(gymnasium.make("Pendulum-v1"), 2)


def test_environments_of_other_processes_are_asked() -> None:
    vec = SubprocVecEnv([make_pendulum], start_method="forkserver")
    try:
        vec.reset()
        model = PPO("MlpPolicy", vec, n_steps=8, batch_size=8, device="cpu")
        policy = sa.from_sb3(model)
        moments = vec.get_attr("obs_rms")[0]
    finally:
        vec.close()
    assert policy.metadata["environment"] == "Pendulum-v1"
    assert "wrappers" not in policy.metadata
    assert policy.observation.scale is not None
    np.testing.assert_array_equal(policy.observation.scale, np.sqrt(moments.var + 1e-2))
    vec = SubprocVecEnv([make_delayed], start_method="forkserver")
    try:
        policy = sa.from_sb3(PPO("MlpPolicy", vec, n_steps=8, batch_size=8, device="cpu"))
    finally:
        vec.close()
    assert policy.metadata["wrappers"] == ["DelayObservation"]


def test_the_file_remembers_the_wrappers(tmp_path: Path) -> None:
    policy = sa.from_sb3(model_of(Mine))
    policy.save(tmp_path / "p.safetensors")
    assert sa.load(tmp_path / "p.safetensors").metadata["wrappers"] == [f"{__name__}.Mine"]
