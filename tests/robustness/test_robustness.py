"""Robustness on an environment whose returns are known in closed form."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from worlds import SLOPE, STEPS, Slope, constant, echo, gym

import sparseagent as sa
from sparseagent.report import iqm, worst_decile
from sparseagent.robustness import (
    Disturbance,
    Setting,
    changed_argument,
    changed_parameter,
    observation_noise,
    observation_std,
    robustness,
)
from sparseagent.rollouts import rollout


def scale_cost(env: Any, factor: float) -> None:
    env.cost *= factor


COST = changed_parameter("cost", scale_cost, (0.5, 2.0))
GAIN = changed_argument("gain", lambda level: {"gain": 3.0 * level}, (0.0, 4.0))


def starts(episodes: int, seed: int = 0) -> Any:
    """A policy that pays nothing: the return tells the start, -2 * 20 * start."""
    zero = rollout(lambda o: np.zeros((len(o), 1), np.float32), SLOPE, episodes=episodes, seed=seed)
    return -zero.returns / (2 * STEPS)


def test_returns_follow_a_changed_parameter_in_closed_form() -> None:
    table = robustness(constant, SLOPE, noise_levels=(), parameters=[COST, GAIN], episodes=12)
    assert table.noise_std is None
    start = starts(12)
    assert len(set(start)) > 1
    expected = [("cost", level, 3.0, 2.0 * level) for level in (0.5, 1.0, 2.0)]
    expected += [("gain", level, 3.0 * level, 2.0) for level in (0.0, 1.0, 4.0)]
    for row, returns, (name, level, gain, cost) in zip(
        table.rows, table.returns, expected, strict=True
    ):
        assert (row.disturbance, row.level, row.environment) == (name, level, SLOPE)
        np.testing.assert_allclose(returns, STEPS * (gain * 0.5 - cost * start))
        assert row.disturbed == (level != 1.0)


def test_rows_say_what_the_returns_say() -> None:
    table = robustness(constant, SLOPE, noise_levels=(), parameters=[COST], episodes=25, seed=3)
    plain = rollout(constant, SLOPE, episodes=25, seed=3)
    for row, returns in zip(table.rows, table.returns, strict=True):
        assert (row.episodes, row.seed) == (25, 3)
        assert row.mean == pytest.approx(returns.mean())
        assert row.std == pytest.approx(returns.std())
        assert row.iqm == pytest.approx(iqm(returns))
        assert row.low <= row.iqm <= row.high
        assert row.mean_low < row.mean < row.mean_high
        assert row.worst_decile == pytest.approx(worst_decile(returns))
        assert row.change == pytest.approx((returns - plain.returns).mean())
        assert row.change_low <= row.change <= row.change_high
    half, whole, twice = table.rows
    assert (whole.change, whole.change_low, whole.change_high) == (0.0, 0.0, 0.0)
    # Episodes are compared one by one: half the cost gives back half of what the cost took.
    assert twice.change == pytest.approx(-2 * half.change)


def test_zero_noise_gives_exactly_the_plain_returns() -> None:
    plain = rollout(echo, SLOPE, episodes=9, seed=5)
    table = robustness(echo, SLOPE, noise_levels=(0.0, 0.3), parameters=(), episodes=9, seed=5)
    np.testing.assert_array_equal(table.returns[0], plain.returns)
    assert [row.disturbed for row in table.rows] == [False, True]
    # Through the wrapper as well: noise of standard deviation 0 adds 0.
    silent = observation_noise(np.zeros(3)).setting(1.0)
    wrapped = rollout(echo, SLOPE, episodes=9, seed=5, wrappers=silent.wrappers)
    np.testing.assert_array_equal(wrapped.returns, plain.returns)


def test_noise_has_the_wanted_standard_deviation_and_grows_linearly() -> None:
    # The action is the noisy step number, so an episode's noise is gain * the sum of 20 draws.
    std = (0.0, 2.0, 0.0)
    table = robustness(
        echo, SLOPE, noise_levels=(0.5, 1.0), noise_std=std, parameters=(), episodes=500
    )
    half, one = table.returns[1] - table.returns[0], table.returns[2] - table.returns[0]
    np.testing.assert_allclose(one, 2 * half, atol=1e-3)  # the same draws, scaled; float32
    assert one.std() == pytest.approx(3 * 2 * np.sqrt(STEPS), rel=0.1)
    assert abs(one.mean()) < 4 * 3 * 2 * np.sqrt(STEPS / 500)
    assert table.noise_std is not None
    assert table.noise_std.tolist() == list(std)


def test_noise_changes_only_what_varies() -> None:
    seen: list[Any] = []

    def watch(observation: Any) -> Any:
        seen.append(observation.copy())
        return constant(observation)

    robustness(watch, SLOPE, noise_levels=(0.5,), parameters=(), episodes=4)
    observations = np.concatenate(seen)
    assert set(observations[:, 2]) == {7.0}
    assert len(set(observations[:, 1])) > STEPS
    assert observations.dtype == np.float32


def test_noise_does_not_depend_on_the_batch_and_follows_the_seed() -> None:
    def returns(**kwargs: Any) -> Any:
        return robustness(
            echo, SLOPE, noise_levels=(0.2,), parameters=[COST], **{"episodes": 10, **kwargs}
        ).returns

    together = returns(num_envs=8)
    np.testing.assert_array_equal(together, returns(num_envs=8))
    np.testing.assert_array_equal(together, returns(num_envs=1))
    np.testing.assert_array_equal(together, returns(num_envs=3))
    assert not np.array_equal(together[1], returns(seed=1)[1])


def test_equal_arguments_equal_rows() -> None:
    first, again = (robustness(echo, SLOPE, parameters=[COST], episodes=5) for _ in range(2))
    assert first.rows == again.rows
    assert [row.level for row in first.rows] == [0, 0.1, 0.2, 0.5, 1, 2, 0.5, 1, 2]


def test_observation_std_in_closed_form() -> None:
    std = observation_std([constant], SLOPE, episodes=30)
    expected = (starts(30).std(), np.arange(STEPS).std(), 0.0)
    np.testing.assert_allclose(std, expected, rtol=1e-12)
    assert std[2] == 0.0
    for num_envs in (1, 7):
        again = observation_std([constant], SLOPE, episodes=30, num_envs=num_envs)
        np.testing.assert_array_equal(again, std)


def test_observation_std_pools_policies() -> None:
    def first_half(observation: Any) -> Any:
        return constant(observation)

    one = observation_std([constant], SLOPE, episodes=6)
    two = observation_std([constant, first_half], SLOPE, episodes=6)
    np.testing.assert_allclose(two, one)  # the same observations twice
    table = robustness(constant, SLOPE, noise_levels=(0.1,), parameters=(), episodes=6)
    np.testing.assert_array_equal(table.noise_std, one)


def test_booleans_become_floats_under_noise() -> None:
    class Bits(Slope):
        observation_space = gym.spaces.Box(0, 1, (3,), bool)

        def _observe(self) -> Any:
            return np.array([True, False, True])

    seen: list[Any] = []

    def watch(observation: Any) -> Any:
        seen.append(observation.copy())
        return constant(observation)

    gym.register("SparseagentBits-v0", entry_point=Bits)
    try:
        noise = observation_noise(np.array([0.0, 1.0, 1.0])).setting(0.5)
        rollout(watch, "SparseagentBits-v0", episodes=2, wrappers=noise.wrappers)
    finally:
        del gym.registry["SparseagentBits-v0"]
    observations = np.concatenate(seen)
    assert observations.dtype == np.float32
    assert set(observations[:, 0]) == {1.0}
    assert len(set(observations[:, 1])) > 10


def test_compiled_policy() -> None:
    weight = np.array([[0, 0, -1, -0.5], [0, 0, 1, 0.5]], dtype=np.float32)
    layer = sa.Layer(sa.CSR.from_dense(weight), np.zeros(2, dtype=np.float32))
    act = sa.compile(sa.SparsePolicy(sa.chain((layer,), sa.Observation((4,))), sa.Argmax()), tune=0)
    table = robustness(act, "CartPole-v1", noise_levels=(0.1, 3.0), episodes=10)
    np.testing.assert_array_equal(
        table.returns[0], rollout(act, "CartPole-v1", episodes=10).returns
    )
    means = [row.mean for row in table.rows if row.disturbance == "observation noise"]
    assert means[0] > means[-1] + 100
    names = {row.disturbance for row in table.rows}
    assert names == {"observation noise", "pole length", "pole mass", "push force"}
    assert all(np.isfinite(list(asdict(row).values())[-1]) for row in table.rows)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: robustness(constant, SLOPE, noise_levels=()),
            ValueError,
            "expected something to disturb",
        ),
        (
            lambda: robustness(constant, SLOPE, parameters=[GAIN], env_kwargs={"gain": 1.0}),
            ValueError,
            r"env_kwargs must not set what is disturbed, got \['gain'\]",
        ),
        (
            lambda: robustness(constant, SLOPE, noise_levels=(-0.1,)),
            ValueError,
            "levels must be at least 0",
        ),
        (
            lambda: robustness(constant, SLOPE, noise_levels=(0.2, 0.1)),
            ValueError,
            "must be finite, rising",
        ),
        (
            lambda: robustness(constant, SLOPE, noise_std=[1.0, 1.0]),
            ValueError,
            r"observations' shape \(3,\), got \(2,\)",
        ),
        (lambda: observation_noise([np.nan]), ValueError, "std must be finite"),
        (lambda: observation_std([], SLOPE), ValueError, "acts must hold at least one"),
        (lambda: Disturbance("x", (), 1.0, lambda _: Setting()), ValueError, "levels of 'x'"),
        (
            lambda: robustness(constant, "FrozenLake-v1"),
            TypeError,
            "needs observations of a Box, got Discrete",
        ),
        (lambda: robustness(constant, SLOPE, episodes=0), ValueError, "episodes must be at least"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
