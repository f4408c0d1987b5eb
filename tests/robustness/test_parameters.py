"""Changed parameters reach the physics, consistently, and 1 changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from worlds import SLOPE, gym

from sparseagent.robustness import Disturbance, parameters_of
from sparseagent.rollouts import rollout

NAMES = {
    "CartPole-v1": ["pole length", "pole mass", "push force"],
    "Acrobot-v1": ["link lengths", "link masses"],
    "Pendulum-v1": ["gravity", "mass", "length"],
    "MountainCar-v0": ["push force", "gravity"],
    "MountainCarContinuous-v0": ["engine power"],
    "LunarLander-v3": ["gravity", "wind"],
    "LunarLanderContinuous-v3": ["gravity", "wind"],
    "HalfCheetah-v5": ["body masses", "friction", "gravity"],
    "Hopper-v5": ["body masses", "friction", "gravity"],
}


def need(env: str) -> None:
    if env.startswith("LunarLander"):
        pytest.importorskip("Box2D")
    if env.endswith("-v5"):
        pytest.importorskip("mujoco")


def parameter(env: str, name: str) -> Disturbance:
    need(env)
    return next(found for found in parameters_of(env) if found.name == name)


def changed(env: str, name: str, level: float) -> Any:
    """The bare environment with a parameter changed."""
    setting = parameter(env, name).setting(level)
    made = gym.make(env, **setting.env_kwargs)
    for wrap in setting.wrappers:
        made = wrap(made)
    return made.unwrapped


@pytest.mark.parametrize("env", NAMES)
def test_names(env: str) -> None:
    assert [found.name for found in parameters_of(env)] == NAMES[env]


def test_unknown_environments() -> None:
    assert parameters_of(SLOPE) == ()
    assert parameters_of("FrozenLake-v1") == ()
    with pytest.raises(ValueError, match="gymnasium has no 'NoSuchThing-v0'"):
        parameters_of("NoSuchThing-v0")


@pytest.mark.parametrize(("env", "name"), [(e, n) for e, names in NAMES.items() for n in names])
def test_every_level_plays_and_matters(env: str, name: str) -> None:
    disturbance = parameter(env, name)
    space = gym.spec(env).make().action_space
    space.seed(0)
    sequence = [space.sample() for _ in range(400)]  # the same actions for all levels
    returns = {}
    for level in (disturbance.levels[0], disturbance.levels[-1]):
        setting = disturbance.setting(level)
        result = rollout(
            _Replay(sequence),
            env,
            episodes=1,
            max_steps=150,
            env_kwargs=setting.env_kwargs,
            wrappers=(*setting.wrappers, _Trace),
        )
        returns[level] = (result.returns[0], _Trace.last)
        assert np.isfinite(result.returns).all()
    (_, low), (_, high) = returns.values()
    assert not np.array_equal(low, high)


class _Replay:
    def __init__(self, actions: list[Any]) -> None:
        self._actions = iter(actions)

    def __call__(self, observation: Any) -> Any:
        return np.array([next(self._actions)] * len(observation))


class _Trace(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the last observation."""

    last: Any = None

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        type(self).last = np.array(result[0])
        return result


@pytest.mark.parametrize(("env", "name"), [(e, n) for e, names in NAMES.items() for n in names])
def test_the_unchanged_level_changes_nothing(env: str, name: str) -> None:
    """To the last bit: the derived quantities are the ones the environment starts with."""
    disturbance = parameter(env, name)
    setting = disturbance.setting(disturbance.unchanged)
    observations = []
    for kwargs, wrappers in (({}, ()), (setting.env_kwargs, setting.wrappers)):
        made = gym.make(env, **kwargs)
        for wrap in wrappers:
            made = wrap(made)
        first, _ = made.reset(seed=3)
        made.action_space.seed(0)
        steps = [made.step(made.action_space.sample())[:2] for _ in range(8)]
        observations.append((first, steps))
        made.close()
    (first, steps), (again, steps_again) = observations
    np.testing.assert_array_equal(first, again)
    if name == "wind":
        return  # a wind of no strength still draws its phase, and moves the later draws
    for (seen, paid), (seen_again, paid_again) in zip(steps, steps_again, strict=True):
        np.testing.assert_array_equal(seen, seen_again)
        assert paid == paid_again


def test_cartpole_stays_consistent() -> None:
    longer = changed("CartPole-v1", "pole length", 2.0)
    assert (longer.length, longer.masspole, longer.polemass_length) == (1.0, 0.1, 0.1)
    heavier = changed("CartPole-v1", "pole mass", 2.0)
    assert (heavier.masspole, heavier.total_mass, heavier.polemass_length) == (0.2, 1.2, 0.1)
    assert changed("CartPole-v1", "push force", 0.5).force_mag == 5.0


def test_acrobot_stays_consistent() -> None:
    longer = changed("Acrobot-v1", "link lengths", 2.0)
    assert (longer.LINK_LENGTH_1, longer.LINK_COM_POS_2, longer.LINK_MOI) == (2.0, 1.0, 4.0)
    heavier = changed("Acrobot-v1", "link masses", 1.5)
    assert (heavier.LINK_MASS_1, heavier.LINK_MASS_2, heavier.LINK_MOI) == (1.5, 1.5, 1.5)
    assert type(heavier).LINK_MASS_1 == 1.0  # only this object


def test_pendulum_falls_by_its_equation() -> None:
    # From rest at angle theta, one step gives the speed 3 g / (2 l) sin(theta) dt.
    for name, factor, expected in (("gravity", 2.0, 2.0), ("length", 2.0, 0.5), ("mass", 2.0, 1.0)):
        env = changed("Pendulum-v1", name, factor)
        env.reset(seed=0)
        env.state = np.array([0.3, 0.0])
        observation = env.step(np.zeros(1, np.float32))[0]
        usual = 3 * 10.0 / 2 * np.sin(0.3) * 0.05
        assert observation[2] == pytest.approx(expected * usual, rel=1e-6)


def test_lunar_lander_takes_its_arguments() -> None:
    assert changed("LunarLander-v3", "gravity", 0.5).gravity == -5.0
    windy = changed("LunarLander-v3", "wind", 0.5)
    assert (windy.enable_wind, windy.wind_power, windy.turbulence_power) == (True, 7.5, 0.75)


def test_mujoco_body_falls_by_its_gravity() -> None:
    need("Hopper-v5")
    usual, halved = gym.make("Hopper-v5").unwrapped, changed("Hopper-v5", "gravity", 0.5)
    np.testing.assert_array_equal(halved.model.opt.gravity, 0.5 * usual.model.opt.gravity)
    heavier = changed("Hopper-v5", "body masses", 2.0)
    np.testing.assert_allclose(heavier.model.body_mass, 2 * usual.model.body_mass)
    np.testing.assert_allclose(heavier.model.body_inertia, 2 * usual.model.body_inertia)
    # Derived by MuJoCo: what hangs on a body, and how easily it is moved.
    np.testing.assert_allclose(heavier.model.body_subtreemass, 2 * usual.model.body_subtreemass)
    assert (heavier.model.body_invweight0[1:] < usual.model.body_invweight0[1:]).all()
    slippery = changed("Hopper-v5", "friction", 0.5)
    np.testing.assert_allclose(
        slippery.model.geom_friction[:, 0], 0.5 * usual.model.geom_friction[:, 0]
    )
