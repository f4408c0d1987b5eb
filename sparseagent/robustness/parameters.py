"""Physical parameters that can be changed, for the environments that gymnasium brings along.

A level is a factor on the usual value, 1 the environment as it is. Starts are drawn from the same
seeds at all levels. What a parameter stands for stays consistent: a heavier pole adds to the total
mass, a longer link moves its centre of mass and raises its moment of inertia.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium

from sparseagent.environments import base_environment
from sparseagent.robustness.disturbance import Disturbance, Setting

#: Factors on a parameter, unless an environment allows only others.
FACTORS = (0.5, 0.75, 1.25, 1.5, 2.0)
#: CartPole stands what would upset others.
_WIDE = (0.125, 0.25, 0.5, 2.0, 4.0, 8.0)
_Change = Callable[[Any, float], None]


def changed_parameter(
    name: str, change: _Change, levels: Sequence[float] = FACTORS, *, unchanged: float = 1.0
) -> Disturbance:
    """A parameter that lies in the environment object.

    Args:
        name: Name of the disturbance.
        change: `change(env, level)` changes a fresh environment, without its wrappers, in place.
        levels: Rising.
        unchanged: The level of the environment as it is.

    Raises:
        ValueError: `levels` is empty, not finite or not rising.
    """

    def setting(level: float) -> Setting:
        def wrap(env: Any) -> Any:
            change(env.unwrapped, level)
            return env

        return Setting(wrappers=(wrap,))

    return Disturbance(name, tuple(map(float, levels)), unchanged, setting)


def changed_argument(
    name: str,
    arguments: Callable[[float], Mapping[str, Any]],
    levels: Sequence[float] = FACTORS,
    *,
    unchanged: float = 1.0,
) -> Disturbance:
    """A parameter that the environment takes when it is made.

    Args:
        name: Name of the disturbance.
        arguments: Level -> arguments for making the environment.
        levels: Rising.
        unchanged: The level of the environment as it is.

    Raises:
        ValueError: `levels` is empty, not finite or not rising.
    """
    return Disturbance(
        name, tuple(map(float, levels)), unchanged, lambda level: Setting(arguments(level))
    )


def parameters_of(env: str) -> tuple[Disturbance, ...]:
    """The parameters that are known for an environment; none for one that is not known.

    Known are CartPole, Acrobot, MountainCar, Pendulum, LunarLander and gymnasium's MuJoCo tasks,
    also with features added by `distractors`.

    Args:
        env: Environment id.

    Raises:
        ValueError: gymnasium does not know the id.
    """
    try:
        entry = gymnasium.spec(base_environment(env)).entry_point
    except gymnasium.error.Error as error:
        raise ValueError(f"env: gymnasium has no {env!r}: {error}") from error
    if not isinstance(entry, str):
        return ()
    if entry.startswith("gymnasium.envs.mujoco."):
        return _MUJOCO
    return _KNOWN.get(entry, ())


def _times(*attributes: str) -> _Change:
    def change(env: Any, factor: float) -> None:
        for attribute in attributes:
            setattr(env, attribute, getattr(env, attribute) * factor)

    return change


def _pole_length(env: Any, factor: float) -> None:
    env.length *= factor
    env.polemass_length = env.masspole * env.length


def _pole_mass(env: Any, factor: float) -> None:
    env.masspole *= factor
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length


def _link_lengths(env: Any, factor: float) -> None:
    _times("LINK_LENGTH_1", "LINK_LENGTH_2", "LINK_COM_POS_1", "LINK_COM_POS_2")(env, factor)
    env.LINK_MOI *= factor**2


def _body_masses(env: Any, factor: float) -> None:
    env.model.body_mass[:] *= factor
    env.model.body_inertia[:] *= factor
    _derive_constants(env)


def _friction(env: Any, factor: float) -> None:
    env.model.geom_friction[:, 0] *= factor  # sliding; the others turn and roll
    env.model.pair_friction[:, :2] *= factor


def _mujoco_gravity(env: Any, factor: float) -> None:
    env.model.opt.gravity[:] *= factor


def _derive_constants(env: Any) -> None:
    """What MuJoCo computes from the masses, in a scratch state: the environment's own stays."""
    import mujoco

    mujoco.mj_setConst(env.model, mujoco.MjData(env.model))


def _wind(level: float) -> dict[str, Any]:
    # The strengths that LunarLander has where the wind is merely switched on.
    return {"enable_wind": True, "wind_power": 15.0 * level, "turbulence_power": 1.5 * level}


_CARTPOLE = (
    changed_parameter("pole length", _pole_length, _WIDE),
    changed_parameter("pole mass", _pole_mass, _WIDE),
    changed_parameter("push force", _times("force_mag"), _WIDE),
)
_ACROBOT = (
    changed_parameter("link lengths", _link_lengths),
    changed_parameter("link masses", _times("LINK_MASS_1", "LINK_MASS_2", "LINK_MOI")),
)
_PENDULUM = (
    changed_parameter("gravity", _times("g")),
    changed_parameter("mass", _times("m")),
    changed_parameter("length", _times("l")),
)
_LUNAR_LANDER = (
    # It takes gravities above -12 only.
    changed_argument("gravity", lambda level: {"gravity": -10.0 * level}, (0.5, 0.75, 1.1, 1.19)),
    changed_argument("wind", _wind, (0.25, 0.5, 1.0, 1.33), unchanged=0.0),
)
_MUJOCO = (
    changed_parameter("body masses", _body_masses),
    changed_parameter("friction", _friction),
    changed_parameter("gravity", _mujoco_gravity),
)
_CLASSIC = "gymnasium.envs.classic_control."
_KNOWN = {
    f"{_CLASSIC}cartpole:CartPoleEnv": _CARTPOLE,
    f"{_CLASSIC}acrobot:AcrobotEnv": _ACROBOT,
    f"{_CLASSIC}pendulum:PendulumEnv": _PENDULUM,
    f"{_CLASSIC}mountain_car:MountainCarEnv": (
        changed_parameter("push force", _times("force")),
        changed_parameter("gravity", _times("gravity")),
    ),
    f"{_CLASSIC}continuous_mountain_car:Continuous_MountainCarEnv": (
        changed_parameter("engine power", _times("power")),
    ),
    "gymnasium.envs.box2d.lunar_lander:LunarLander": _LUNAR_LANDER,
}
