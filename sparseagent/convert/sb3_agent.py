"""From a Stable-Baselines3 agent to a SparsePolicy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from sparseagent.convert.assemble import assemble, versions
from sparseagent.convert.beside import statement_beside, warn_of_silence
from sparseagent.convert.builder import Builder
from sparseagent.convert.masks import read_masks
from sparseagent.convert.normaliser import Normaliser, Statement, statement_of
from sparseagent.convert.sb3_source import Source
from sparseagent.convert.sb3_zip import Stated, read_zip, zip_file
from sparseagent.convert.spaces import BoxSpace, action_head, observation_step
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
) -> SparsePolicy:
    """Convert the actor of a PPO, A2C, DQN, SAC, TD3 or DDPG agent with an MlpPolicy.

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

    Returns:
        The policy, with a self-test of eight observations.

    Raises:
        TypeError: an algorithm, class, module or space that cannot be represented, by name; where
            it comes from a file, a `ValueError` at the same time.
        ValueError: something that contradicts or is missing, by name; a file that is damaged.
        FileNotFoundError: no such zip.
    """
    space_given = observation_space is not None
    if isinstance(model_or_path, str | Path):
        file = zip_file(Path(model_or_path))
        stated = Stated(algo, activation, observation_space, action_space)
        arrays = read_masks(masks)
        source = read_zip(file, stated)
        statement = _statement_of_zip(file, source, vecnormalize)
    else:
        if algo is not None or activation is not None:
            raise ValueError("algo, activation: expected None for a live model, which knows them")
        from sparseagent.convert.sb3_live import read_model

        arrays = read_masks(masks, prefix="policy.")
        source = read_model(model_or_path, observation_space, action_space)
        source, statement = _with_surroundings(
            model_or_path, source, vecnormalize, reshape=not space_given
        )
    return _policy(source, statement, Builder(arrays), metadata, order)


def _policy(
    source: Source,
    statement: Statement,
    builder: Builder,
    metadata: Mapping[str, Any] | None,
    order: str | None,
) -> SparsePolicy:
    space = source.observation_space
    step = observation_step(space, statement.normaliser, normalize_images=source.normalize_images)
    action = source.network(builder, builder.observe(step))
    head = action_head(source.action_space, action.size, squashed=source.squashed)
    facts = {
        "source": "stable-baselines3",
        "algorithm": source.algorithm,
        "observation_space": str(space),
        "action_space": str(source.action_space),
        **statement.facts,
        "versions": versions("torch", "stable-baselines3", "gymnasium"),
        **source.facts,
    }
    return assemble(
        builder,
        {"action": action},
        head,
        facts=facts,
        metadata=metadata,
        spaces={"observation": space} if isinstance(space, BoxSpace) else None,
        order=order,
    )


def _statement_of_zip(file: Path, source: Source, vecnormalize: Any) -> Statement:
    """What the caller says about the normaliser of a zip, or what lies beside it."""
    if vecnormalize is not None:
        return statement_of(vecnormalize)
    space = source.observation_space
    shape = space.shape if isinstance(space, BoxSpace) else ()
    return statement_beside(file, source.normalised, shape)


def _with_surroundings(
    model: Any, source: Source, vecnormalize: Any, *, reshape: bool
) -> tuple[Source, Statement]:
    """A live model with what its environment says about it: normalisers and other wrappers."""
    from sparseagent.convert.sb3_env import read_surroundings

    env = model.get_env()
    _check_normaliser_stated(model, vecnormalize)
    statement = statement_of(vecnormalize)
    given: Normaliser | Literal[False] | None
    given = None if vecnormalize is None else statement.normaliser or False
    around = read_surroundings(env, given)
    if around.normaliser is not None and given is None:
        statement = Statement(
            around.normaliser, {"vecnormalize": "built in", "normaliser": "NormalizeObservation"}
        )
    elif env is None and vecnormalize is None:
        statement = _statement_without_environment(type(model).__name__, source.normalised)
    space = source.observation_space
    if around.shape is not None and reshape and isinstance(space, BoxSpace):
        space = space.reshaped(around.shape)
        if statement.normaliser is not None:
            reshaped = statement.normaliser.reshaped(around.shape)
            statement = replace(statement, normaliser=reshaped)
    facts = {**source.facts, **around.facts}
    return replace(source, observation_space=space, facts=facts), statement


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
