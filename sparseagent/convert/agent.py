"""From agents of CleanRL, rsl_rl, rl_games, skrl and Tianshou to a SparsePolicy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparseagent.agents import Acting, adapt
from sparseagent.agents.spaces import (
    PLAIN,
    BoxSpace,
    Space,
)
from sparseagent.convert.acting import policy_of, unbounded
from sparseagent.convert.assemble import versions
from sparseagent.convert.beside import warn_of_silence
from sparseagent.convert.masks import read_masks
from sparseagent.convert.normaliser import (
    Normaliser,
    observation_steps,
    read_normaliser,
)
from sparseagent.ops import Observation
from sparseagent.policy import SparsePolicy


def from_agent(
    agent: Any,
    *,
    env: Any = None,
    normaliser: Any = None,
    observation_space: Any = None,
    action_space: Any = None,
    metadata: Mapping[str, Any] | None = None,
    order: str | None = None,
    masks: Any = None,
    stochastic: bool = False,
    value: bool = False,
) -> SparsePolicy:
    """Convert an agent of CleanRL, rsl_rl, rl_games, skrl or Tianshou.

    Each library's own rules are followed: where it puts eps and clips, how it squashes and scales
    actions; `metadata["quirks"]` names what a user of another library would not expect. Its
    normaliser is built in where the agent holds it (rsl_rl, rl_games, skrl); CleanRL and Tianshou
    leave it to the environment.

    Args:
        agent: a module that acts, such as the `Agent` of a CleanRL script, or what holds one: a
            runner, a player, an algorithm. It is not changed.
        env: the environment that it was trained in, one or a vector: its spaces, id and
            normalisers (`NormalizeObservation`, with the clip of a `TransformObservation` behind
            it, `FlattenObservation`) become part of the policy, other wrappers are named.
        normaliser: the observation step, for agents that do not hold it: an `Observation`, a
            mapping with `mean`, `var`, `epsilon`, `clip_obs`, or the file of a VecNormalize. False
            states that there is none. Without it and `env` a `NormaliserWarning` tells that
            nobody knows.
        observation_space: replaces the agent's or the environment's.
        action_space: replaces the agent's or the environment's.
        metadata: JSON-able facts to add.
        order: as in `from_torch`.
        masks: a `Sparsifier` of the agent's module, or bool masks `[out, in]` by the name of the
            weight, as in `from_torch`.
        stochastic: whether the policy should be able to sample as the agent does in training.
        value: whether the value network comes along as the output `"value"`.

    Returns:
        The policy, with a self-test of eight observations, compared with the agent's network.

    Raises:
        TypeError: no agent of these libraries, or a part that cannot be represented.
        ValueError: something that contradicts or is missing, by name.
    """
    found = adapt(agent)
    if found is None or found.library == "stable-baselines3":
        raise TypeError(
            "agent: expected one of CleanRL, rsl_rl, rl_games, skrl or Tianshou, got "
            f"{type(agent).__name__}; from_sb3 takes those of Stable-Baselines3, from_torch any "
            "network"
        )
    observed, actions = _spaces_of(env)
    acting = found.acting(
        observation_space=observed if observation_space is None else observation_space,
        action_space=actions if action_space is None else action_space,
        stochastic=stochastic,
        value=value,
    )
    space = acting.observation_space or unbounded(acting.network)
    space, steps, facts = _observed(acting, space, env, normaliser)
    facts = {"source": found.library, **facts, "versions": versions("torch", found.library)}
    arrays = read_masks(masks, prefix="policy.")
    return policy_of(acting, space, steps, arrays, facts=facts, metadata=metadata, order=order)


def _observed(
    acting: Acting, space: Space, env: Any, given: Any
) -> tuple[Space, dict[str, Observation], dict[str, Any]]:
    """The space that the policy observes, what happens to it, and what the file says of that."""
    from sparseagent.convert.surroundings import read_surroundings

    if acting.normaliser is not None and given is not None:
        raise ValueError("normaliser: expected None for an agent that has one of its own, got one")
    stated: Any = False if acting.normaliser is not None else None
    step = given if isinstance(given, Observation) else None
    if step is None and given is not None:
        stated = read_normaliser(given) or False
    bounded = isinstance(acting.action_space, BoxSpace) and acting.head.kind != "raw"
    around = read_surroundings(env, False if step is not None else stated, clips_actions=bounded)
    if around.shape is not None and isinstance(space, BoxSpace):
        space = space.reshaped(around.shape)
    facts = {"vecnormalize": "none", **around.facts}
    if acting.normaliser is not None or step is not None:
        facts["vecnormalize"] = "built in"
        own = acting.normaliser or step
        assert own is not None
        return space, {PLAIN: own}, facts
    normaliser = around.normaliser or stated or None
    if normaliser is not None:
        facts["vecnormalize"] = "built in"
        if around.shape is not None and isinstance(normaliser, Normaliser):
            normaliser = normaliser.reshaped(around.shape)
    elif given is None and env is None and acting.normalised is None:
        facts["vecnormalize"] = "not stated"
        warn_of_silence(f"{acting.algorithm} agent", ways=_AGENT_WAYS, depth=4)
    images = acting.normalize_images
    return space, observation_steps(space, normaliser, normalize_images=images), facts


_AGENT_WAYS = (
    "pass env= with the environment of the training, or normaliser= with its statistics, or "
    "normaliser=False if observations were not normalised"
)


def _spaces_of(env: Any) -> tuple[Any, Any]:
    """The spaces of one environment."""
    if env is None:
        return None, None
    single = (
        getattr(env, "single_observation_space", None),
        getattr(env, "single_action_space", None),
    )
    whole = env.observation_space, env.action_space
    return tuple(w if s is None else s for s, w in zip(single, whole, strict=True))
