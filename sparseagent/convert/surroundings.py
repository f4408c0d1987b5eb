"""What stands between an agent's environment and its policy: normalisers and other wrappers.

A policy sees what the outermost wrapper gives. A policy file is played in the environment as
`gymnasium.make` makes it, so each wrapper is built into the policy, or does not matter, or is named
in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import gymnasium
import numpy as np

from sparseagent.convert.normaliser import Normaliser

#: Wrappers that change neither observations nor actions.
_HARMLESS = frozenset(
    {
        *("Monitor", "TimeLimit", "Autoreset", "OrderEnforcing", "PassiveEnvChecker"),
        *("RecordEpisodeStatistics", "RecordVideo", "RenderCollection", "HumanRendering"),
        *("ClipReward", "TransformReward", "NormalizeReward"),
        *("VecMonitor", "VecCheckNan", "VecVideoRecorder"),
    }
)
_LIBRARIES = ("gymnasium", "stable_baselines3")
_NORMALIZE, _TRANSFORM, _CLIP_ACTION = "NormalizeObservation", "TransformObservation", "ClipAction"
#: Observations for which a function is asked whether it is a clip.
_PROBES = 256


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The environment of a model, as far as it matters for a policy.

    Attributes:
        environment: its id, where known.
        wrappers: what changes observations or actions and is not built in, innermost first.
        normaliser: what stands for `NormalizeObservation`, or None where it is not built in.
        shape: of the observations below a `FlattenObservation`, or None where there is none.
    """

    environment: str | None = None
    wrappers: tuple[str, ...] = ()
    normaliser: Normaliser | None = None
    shape: tuple[int, ...] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Metadata."""
        facts: dict[str, Any] = {}
        if self.environment is not None:
            facts["environment"] = self.environment
        if self.wrappers:
            facts["wrappers"] = list(self.wrappers)
        return facts


@dataclass(frozen=True, eq=False)
class _Wrapper:
    """One wrapper; the object itself where the environment lies in this process."""

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrapper: Any = None


def read_surroundings(
    env: Any, stated: Normaliser | Literal[False] | None, *, clips_actions: bool = False
) -> Surroundings:
    """Look through an agent's environment, from the outside to the inside.

    Args:
        env: gymnasium's, one or a vector of them, or Stable-Baselines3's vector; or None.
        clips_actions: whether the policy bounds its actions, so that `ClipAction` does nothing.
        stated: what the caller says: the normaliser to build in; False for none, then
            `NormalizeObservation` is named like other wrappers; None to read it.

    Raises:
        ValueError: a `NormalizeObservation` that cannot be built into a policy.
    """
    if env is None:
        return Surroundings()
    base, outer, normalises = _unwrap(env)
    base, around = _unwrap_vector(base)
    harmless = _HARMLESS | {_CLIP_ACTION} if clips_actions else _HARMLESS
    chains = [
        [part for part in (*around, *chain) if part.name not in harmless] for chain in _chains(base)
    ]
    names = list(dict.fromkeys(part.name for chain in chains for part in chain))
    alike = all([p.name for p in chain] == [p.name for p in chains[0]] for chain in chains)
    found = Surroundings(_environment(base))
    if not outer and alike and chains:
        found, names = _fold(base, chains, found, False if normalises else stated)
    if _NORMALIZE in names and stated is None:
        raise ValueError(
            f"vecnormalize: expected {_NORMALIZE} to be what the policy sees first, or nothing but "
            f"FlattenObservation around it, got {', '.join([*outer, *names])}; pass "
            f"vecnormalize=False if observations arrive as the policy sees them"
        )
    return replace(found, wrappers=tuple(reversed([*outer, *names])))


def _unwrap(env: Any) -> tuple[Any, list[str], bool]:
    """Stable-Baselines3's innermost vector, the wrappers around it, and whether one normalises."""
    names, normalises = [], False
    while hasattr(env, "venv") and not isinstance(env, gymnasium.Env):
        if _name(env) == "VecNormalize":
            normalises = normalises or bool(env.norm_obs)
        else:
            names.append(_name(env))
        env = env.venv
    return env, [name for name in names if name not in _HARMLESS], normalises


def _unwrap_vector(env: Any) -> tuple[Any, list[_Wrapper]]:
    """Gymnasium's innermost vector, and the wrappers around it, outermost first."""
    parts = []
    while isinstance(env, gymnasium.vector.VectorWrapper):
        parts.append(_Wrapper(_name(env), wrapper=env))
        env = env.env
    return env, parts


def _fold(
    base: Any,
    chains: Sequence[Sequence[_Wrapper]],
    found: Surroundings,
    stated: Normaliser | Literal[False] | None,
) -> tuple[Surroundings, list[str]]:
    """Build in what comes first and can be; the rest, by name, outermost first."""
    clip = np.inf
    for place, part in enumerate(chains[0]):
        shape = _flattened(part)
        follows = [rest.name for rest in chains[0][place + 1 :]][:1]
        if shape is not None:
            found = replace(found, shape=shape)
        elif part.name == _NORMALIZE and stated is not False and found.normaliser is None:
            read = stated or _common(
                [_normaliser(base, number, chain[place]) for number, chain in enumerate(chains)]
            )
            found = replace(found, normaliser=replace(read, clip_obs=min(clip, read.clip_obs)))
        elif part.name == _TRANSFORM and follows == [_NORMALIZE] and stated is not False:
            bounds = {_clip_of(chain[place]) for chain in chains}
            if len(bounds) > 1 or None in bounds:
                return found, [rest.name for rest in chains[0][place:]]
            (clip,) = bounds  # type: ignore[assignment]
        else:
            return found, [rest.name for rest in chains[0][place:]]
    return found, []


def _clip_of(part: _Wrapper) -> float | None:
    """The c of a `TransformObservation` that clips to [-c, c]; None where it does another thing.

    A function cannot be read, but asked: a few hundred observations of every size.
    """
    function: Any = getattr(part.wrapper, "func", None)
    shape = _inner_space(part.wrapper).shape if callable(function) else None
    if shape is None:
        return None
    try:
        bound = float(np.asarray(function(np.full(shape, 1e9))).max())
        scales = np.array([0.1, 1.0, 0.9 * bound, 1.1 * bound, 10 * bound, 1e6])
        random = np.random.default_rng(0)
        for number in range(_PROBES):
            x = random.standard_normal(shape) * scales[number % len(scales)]
            if not np.array_equal(np.asarray(function(x)), np.clip(x, -bound, bound)):
                return None
    except Exception:  # it is anyone's function
        return None
    return bound if bound > 0 else None


def _inner_space(wrapper: Any) -> Any:
    """The space of the observations that a wrapper gets, of one environment."""
    inner = wrapper.env
    single = getattr(inner, "single_observation_space", None)
    return inner.observation_space if single is None else single


def _chains(base: Any) -> list[list[_Wrapper]]:
    """For each environment its wrappers, outermost first."""
    if isinstance(base, gymnasium.Env):
        return [_walk(base)]
    envs = getattr(base, "envs", None)
    if isinstance(envs, list | tuple):
        return [_walk(env) for env in envs]
    return [_listed(spec) for spec in _specs(base)]


def _walk(env: Any) -> list[_Wrapper]:
    chain = []
    while isinstance(env, gymnasium.Wrapper):
        chain.append(_Wrapper(_name(env), wrapper=env))
        env = env.env
    return chain


def _listed(spec: Any) -> list[_Wrapper]:
    """The wrappers of an environment in another process, as gymnasium lists them."""
    wrappers = reversed(() if spec is None else spec.additional_wrappers)
    return [_Wrapper(part.name, part.kwargs or {}) for part in wrappers]


def _name(wrapper: Any) -> str:
    """A wrapper's name; one that only shares it with a known wrapper gets its module as well."""
    kind = type(wrapper)
    known = kind.__module__.split(".", maxsplit=1)[0] in _LIBRARIES
    return kind.__name__ if known else f"{kind.__module__}.{kind.__name__}"


def _flattened(part: _Wrapper) -> tuple[int, ...] | None:
    """What a `FlattenObservation` flattens, if it only reshapes and the policy may do it."""
    if part.name != "FlattenObservation" or part.wrapper is None:
        return None
    space = _inner_space(part.wrapper)
    image = space.dtype == np.uint8 and len(space.shape or ()) == 3  # would be divided by 255
    plain = isinstance(space, gymnasium.spaces.Box) and space.shape and not image
    return tuple(space.shape) if plain else None


def _normaliser(base: Any, index: int, part: _Wrapper) -> Normaliser:
    """The statistics of a `NormalizeObservation`: eps inside the root, no clip.

    gymnasium keeps them in float32 and takes the root there, which is followed to the bit. It also
    subtracts and divides in float32 where observations are float32; there the policy, which does
    so in float64, differs by a rounding or two.
    """
    if part.wrapper is not None:
        moments, epsilon = part.wrapper.obs_rms, part.wrapper.epsilon
        dtype = str(_inner_space(part.wrapper).dtype)
    else:
        moments = base.get_attr("obs_rms")[index]
        epsilon, dtype = part.kwargs.get("epsilon", 1e-8), None
    scale = np.sqrt(moments.var + epsilon).astype(np.float64)
    # The square of a float32 is a float64, and its root the float32 again.
    return Normaliser(np.array(moments.mean, np.float64), scale**2, 0.0, np.inf, dtype)


def _common(normalisers: Sequence[Normaliser]) -> Normaliser:
    first = normalisers[0]
    for other in normalisers[1:]:
        if not first.equals(other):
            raise ValueError(
                f"vecnormalize: expected one set of statistics, got {len(normalisers)} "
                f"environments whose {_NORMALIZE} wrappers have seen different observations; pass "
                "vecnormalize= with mean, var, epsilon and clip_obs (numpy.inf for no clip), such "
                "as those of one of them, or train with one VecNormalize around all of them"
            )
    return first


def _specs(base: Any) -> list[Any]:
    if isinstance(base, gymnasium.Env):
        return [base.spec]
    try:
        return list(base.get_attr("spec"))
    except (AttributeError, NotImplementedError):
        return []  # an environment that is not gymnasium's


def _environment(base: Any) -> str | None:
    """Id of the environment that the model was made with, where it is known."""
    specs = _specs(base)
    return None if not specs or specs[0] is None else str(specs[0].id)
