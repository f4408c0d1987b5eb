"""From an agent of Stable-Baselines3 or sb3-contrib to a SparsePolicy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sparseagent.agents import Acting, adapt
from sparseagent.agents.sb3.acting import NAMES
from sparseagent.agents.spaces import (
    BoxSpace,
    Space,
)
from sparseagent.convert.acting import policy_of
from sparseagent.convert.assemble import versions
from sparseagent.convert.beside import statement_beside, warn_of_silence
from sparseagent.convert.masks import read_masks
from sparseagent.convert.normaliser import (
    Normaliser,
    Statement,
    observation_steps,
    statement_of,
)
from sparseagent.convert.sb3_zip import Stated, read_zip, zip_file
from sparseagent.policy import SparsePolicy


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
    return policy_of(acting, space, steps, arrays, facts=facts, metadata=metadata, order=order)


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
