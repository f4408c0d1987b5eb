"""From an agent of a known library to a SparsePolicy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sparseagent.agents import Acting, Agent, adapt
from sparseagent.agents.pruned import lost_zeros
from sparseagent.agents.sb3.acting import NAMES
from sparseagent.agents.spaces import (
    PLAIN,
    BoxSpace,
    DiscreteSpace,
    MultiBinarySpace,
    Space,
    inputs,
)
from sparseagent.convert.assemble import assemble, versions
from sparseagent.convert.beside import statement_beside, warn_of_silence
from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.masks import Masks, read_masks
from sparseagent.convert.normaliser import (
    Normaliser,
    Statement,
    observation_steps,
    read_normaliser,
    statement_of,
)
from sparseagent.convert.sb3_zip import Stated, read_zip, zip_file
from sparseagent.convert.torch_trace import trace
from sparseagent.ops import Observation
from sparseagent.policy import SparsePolicy
from sparseagent.policyfile import Observations
from sparseagent.unsupported import UnreadyError


def from_sb3(
    model_or_path: Any,
    *,
    vecnormalize: Any = None,
    algo: str | None = None,
    activation: str | type[nn.Module] | nn.Module | None = None,
    observation_space: Any = None,
    action_space: Any = None,
    metadata: Mapping[str, Any] | None = None,
    order: str | None = None,
    masks: Any = None,
    stochastic: bool = False,
    value: bool = False,
) -> SparsePolicy:
    """Convert an agent of Stable-Baselines3 or sb3-contrib with an MlpPolicy or MultiInputPolicy.

    PPO, A2C, TRPO, MaskablePPO, DQN, QR-DQN, SAC, TQC, CrossQ, TD3, DDPG and ARS; observations in a
    Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these, without images; actions of every
    space that the algorithm takes. Policies with memory and of images are refused.

    The compiled policy's `predict(obs)` gives what `model.predict(vec.normalize_obs(obs),
    deterministic=True)` gives: equal discrete actions (short of ties within rounding), continuous
    ones within 1e-5. Hidden neurons that cannot influence the output are removed.

    A zip is read without unpickling: nothing that it holds is imported or called, and whatever it
    holds, reading ends soon and with nothing worse than a `ValueError`. A zip does not hold the
    statistics of a VecNormalize. Unless `vecnormalize` says otherwise they are looked for beside
    it: `<name>/vecnormalize.pkl` (RL Zoo), `<name>_vecnormalize.pkl` (`sparseagent run`),
    `vec_normalize.pkl` or `vecnormalize.pkl` in its folder (the hub), the names of
    `CheckpointCallback`. Where there are none it is an error if the zip or its training's
    configuration says that there was a VecNormalize, and a `NormaliserWarning` if nothing says
    that there was not. `metadata["vecnormalize"]` is "built in", "none" or "not stated".

    Of a live model's environment, gymnasium's `NormalizeObservation` and `FlattenObservation` are
    built in where the policy sees them first; `metadata["wrappers"]` names everything else that
    changes observations or actions. Images come in as the model takes them, channels first.

    Args:
        model_or_path: a live model, which is not changed, or the path of its zip.
        vecnormalize: the observation statistics: a live `VecNormalize`, the path of the file that
            its `save` wrote (read as data, never unpickled) or of an `.npz`, or a mapping with
            `mean`, `var`, `epsilon`, `clip_obs`. False states that observations arrive normalised
            or need no normalisation. None looks for them, see above, and is refused for a live
            model whose environment has a VecNormalize.
        algo: zip only; the algorithm, where the policy's class does not tell.
        activation: zip only; the hidden activation, a name of `sparseagent.policy.ACTIVATIONS`,
            an `nn.Module` or its class, where the zip does not tell.
        observation_space: replaces the model's or the zip's own.
        action_space: replaces the model's or the zip's own, such as a float32 Box where the
            environment declares float64.
        metadata: JSON-able facts to add.
        order: the order in which rows are summed, see `SparsePolicy.repack`; None for the one that
            the widest instruction set of this machine runs fastest.
        masks: a `Sparsifier` of the model's policy, or bool masks `[out, in]` by the name of the
            weight. Then they say which entries a layer has, whatever the values, layers without
            one have all, and no neuron is removed: all policies of the same masks have the same
            structure, as `Plan.update` needs it.
        stochastic: whether the policy should be able to sample as the agent does in training
            (`predict(deterministic=False)`). Costs the outputs that the distribution is made of,
            such as SAC's standard deviations. TD3, DDPG and ARS know no distribution.
        value: whether the value network comes along as the output `"value"` (PPO, A2C, TRPO,
            MaskablePPO), so that one plan serves the collection of rollouts.

    Returns:
        The policy, with a self-test of eight observations.

    Raises:
        TypeError: an algorithm, class, module or space that cannot be represented, by name; where
            it comes from a file, a `ValueError` at the same time.
        ValueError: something that contradicts or is missing, by name; a file that is damaged.
        FileNotFoundError: no such zip.
    """
    arrays = read_masks(masks, prefix="policy.")
    asked = {"stochastic": stochastic, "value": value}
    if isinstance(model_or_path, str | Path):
        file = zip_file(Path(model_or_path))
        stated = Stated(algo, activation, observation_space, action_space)
        acting = read_zip(file, stated, **asked)
        space = _known_space(acting)
        statement = _statement_of_zip(file, acting, vecnormalize)
    else:
        if algo is not None or activation is not None:
            raise ValueError("algo, activation: expected None for a live model, which knows them")
        agent = adapt(model_or_path)
        if agent is None or agent.library != "stable-baselines3" or agent.model is None:
            raise TypeError(
                f"model: expected a model of {NAMES} or the path of its zip, got "
                f"{type(model_or_path).__name__}"
            )
        acting = agent.acting(
            observation_space=observation_space, action_space=action_space, **asked
        )
        space, statement = _with_surroundings(
            model_or_path, acting, vecnormalize, reshape=observation_space is None
        )
    steps = observation_steps(space, statement.normaliser, normalize_images=acting.normalize_images)
    facts = {
        "source": "stable-baselines3",
        **statement.facts,
        "versions": versions("torch", "stable-baselines3", "sb3-contrib", "gymnasium"),
    }
    return _policy(acting, space, steps, arrays, facts=facts, metadata=metadata, order=order)


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
    space = acting.observation_space or _unbounded(acting.network)
    space, steps, facts = _observed(acting, space, env, normaliser)
    facts = {"source": found.library, **facts, "versions": versions("torch", found.library)}
    arrays = read_masks(masks, prefix="policy.")
    return _policy(acting, space, steps, arrays, facts=facts, metadata=metadata, order=order)


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
        warn_of_silence(f"{acting.algorithm} agent", ways=_AGENT_WAYS)
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


def _unbounded(network: nn.Module) -> Space:
    """What a network observes whose agent does not know: numbers for its first Linear."""
    width = next(part.in_features for part in network.modules() if isinstance(part, nn.Linear))
    return BoxSpace(*(np.full(width, bound, np.float32) for bound in (-np.inf, np.inf)))


class MasksWarning(UserWarning):
    """An agent that was pruned, or should have been, has lost its zeros."""


def why_not(agent: Agent) -> str:
    """Why an agent cannot be converted, in the words of the conversion; empty where it can.

    Raises:
        UnreadyError: It has a memory or sees images.
    """
    try:
        acting = agent.acting()
        space = acting.observation_space
        if space is not None:
            images = acting.normalize_images
            steps = observation_steps(space, None, normalize_images=images)
            _add(Builder(), acting, steps)
    except UnreadyError:
        raise
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _add(builder: Builder, acting: Acting, steps: Mapping[str, Observation]) -> Mapping[str, Value]:
    """The outputs of an agent's network for what it observes."""
    x = Builder.concat(*(builder.observe(step, name) for name, step in steps.items()))
    outputs: Mapping[str, Value] = trace(builder, acting.network, x)
    _check_outputs(acting.action_space, outputs)
    return outputs


def _policy(
    acting: Acting,
    space: Space,
    steps: Mapping[str, Observation],
    masks: Masks | None,
    *,
    facts: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    order: str | None,
) -> SparsePolicy:
    builder = Builder(_by_path(acting.network, masks))
    outputs = _add(builder, acting, steps)
    if masks is None and (lost := lost_zeros(acting.module, acting.kept)):
        warnings.warn(f"{acting.algorithm} agent: {lost}", MasksWarning, stacklevel=3)
    known = {
        "algorithm": acting.algorithm,
        "observation_space": str(space),
        "action_space": str(acting.action_space),
    }
    parts = inputs(space).items()
    boxes = {name: part.as_box() for name, part in parts if isinstance(part, _DRAWN)}

    def source(observations: Observations) -> dict[str, NDArray[Any]]:
        return _outputs_of(acting.network, steps, observations)

    return assemble(
        builder,
        outputs,
        acting.head,
        facts={**facts, **known, **acting.facts},
        metadata=metadata,
        spaces=boxes,
        order=order,
        source=source,
    )


def _outputs_of(
    network: nn.Module, steps: Mapping[str, Observation], observations: Observations
) -> dict[str, NDArray[Any]]:
    """What the network gives for observations as they come from the environment."""
    given = (
        observations if isinstance(observations, Mapping) else dict.fromkeys(steps, observations)
    )
    rows = np.concatenate([step.apply(given[name]) for name, step in steps.items()], axis=1)
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in network.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with torch.no_grad():
            found = network(torch.from_numpy(rows).to(device))
    finally:
        for module, mode in modes:
            module.training = mode
    return {name: tensor.cpu().numpy() for name, tensor in found.items()}


def _by_path(network: nn.Module, masks: Masks | None) -> Masks | None:
    """The masks by the paths under which the network calls its weights."""
    if masks is None:
        return None
    names: dict[int, str] = {}
    found = {}
    for path, parameter in network.named_parameters(remove_duplicate=False):
        name = names.setdefault(id(parameter), path)
        if name in masks:
            found[path] = masks[name]
    return found or masks


def _check_outputs(space: Space | None, outputs: Mapping[str, Value]) -> None:
    size = next(iter(outputs.values())).size
    # The head of a space of several numbers checks their count itself.
    if isinstance(space, BoxSpace | DiscreteSpace) and space.size != size:
        raise ValueError(f"action_space: expected one for {size} outputs, got {space}")


#: Spaces whose bounds the self-test is drawn from.
_DRAWN = BoxSpace | MultiBinarySpace


def _known_space(acting: Acting) -> Space:
    assert acting.observation_space is not None
    return acting.observation_space


def _statement_of_zip(file: Path, acting: Acting, vecnormalize: Any) -> Statement:
    """What the caller says about the normaliser of a zip, or what lies beside it."""
    if vecnormalize is not None:
        return statement_of(vecnormalize)
    return statement_beside(file, acting.normalised, _known_space(acting))


def _with_surroundings(
    model: Any, acting: Acting, vecnormalize: Any, *, reshape: bool
) -> tuple[Space, Statement]:
    """What a live model's environment says: its observations, normalisers, other wrappers."""
    from sparseagent.convert.surroundings import read_surroundings

    env = model.get_env()
    _check_normaliser_stated(model, vecnormalize)
    statement = statement_of(vecnormalize)
    given: Any = None if vecnormalize is None else statement.normaliser or False
    around = read_surroundings(env, given)
    if around.normaliser is not None and given is None:
        statement = Statement(
            around.normaliser, {"vecnormalize": "built in", "normaliser": "NormalizeObservation"}
        )
    elif env is None and vecnormalize is None:
        statement = _statement_without_environment(type(model).__name__, acting.normalised)
    space = _known_space(acting)
    if around.shape is not None and reshape and isinstance(space, BoxSpace):
        space = space.reshaped(around.shape)
        if isinstance(statement.normaliser, Normaliser):
            reshaped = statement.normaliser.reshaped(around.shape)
            statement = replace(statement, normaliser=reshaped)
    return space, replace(statement, facts={**statement.facts, **around.facts})


def _statement_without_environment(name: str, normalised: bool | None) -> Statement:
    """What a model that was loaded without its environment remembers."""
    if normalised:
        raise ValueError(
            "vecnormalize: expected a statement, for the model remembers an observation from "
            "before a VecNormalize: pass the VecNormalize, the file that its save wrote, or False "
            "if observations were not normalised"
        )
    if normalised is None:
        warn_of_silence(f"{name} model without an environment")
    return Statement(None, {"vecnormalize": "not stated" if normalised is None else "none"})


def _check_normaliser_stated(model: Any, vecnormalize: Any) -> None:
    """Refuse to lose the normaliser that the model was trained with."""
    vec = model.get_vec_normalize_env()
    if vecnormalize is None and vec is not None and vec.norm_obs:
        raise ValueError(
            "vecnormalize: expected a statement, for the model's environment normalises "
            "observations: pass vecnormalize=model.get_vec_normalize_env() to build its "
            "statistics into the policy, or vecnormalize=False if observations arrive normalised"
        )
