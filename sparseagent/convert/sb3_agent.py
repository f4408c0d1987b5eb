"""From a Stable-Baselines3 agent to a SparsePolicy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sparseagent.convert.assemble import assemble, versions
from sparseagent.convert.masks import read_masks
from sparseagent.convert.normaliser import read_normaliser
from sparseagent.convert.sb3_source import Source
from sparseagent.convert.sb3_zip import Stated, read_zip
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

    A zip is read without unpickling: nothing that it holds is imported or called. It does not
    hold the statistics of a VecNormalize, nor does it say whether there was one, and neither does
    a model that was loaded without its environment: pass `vecnormalize` if the agent was trained
    with one, or the policy acts on raw observations (`metadata["vecnormalize"]` records which).
    Images come in as the model takes them, channels first.

    Args:
        model_or_path: a live model, which is not changed, or the path of its zip.
        vecnormalize: the observation statistics: a live `VecNormalize`, the path of the file that
            its `save` wrote (read as data, never unpickled) or of an `.npz`, or a mapping with
            `mean`, `var`, `epsilon`, `clip_obs`. False states that observations arrive normalised
            or need no normalisation. None is refused for a live model whose environment
            normalises observations.
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
        TypeError: an algorithm, class, module or space that cannot be represented, by name.
        ValueError: something that contradicts or is missing, by name.
        FileNotFoundError: no such zip.
    """
    if isinstance(model_or_path, str | Path):
        stated = Stated(algo, activation, observation_space, action_space)
        source = read_zip(Path(model_or_path), stated, read_masks(masks))
        silent = vecnormalize is None
        keep = masks is not None
        return _policy(source, vecnormalize, metadata, order, silent=silent, keep_structure=keep)
    if algo is not None or activation is not None:
        raise ValueError("algo, activation: expected None for a live model, which knows them")
    from sparseagent.convert.sb3_live import read_model

    arrays = read_masks(masks, prefix="policy.")
    source = read_model(model_or_path, observation_space, action_space, arrays)
    _check_normaliser_stated(model_or_path, vecnormalize)
    silent = vecnormalize is None and model_or_path.get_env() is None
    keep = masks is not None
    return _policy(source, vecnormalize, metadata, order, silent=silent, keep_structure=keep)


def _policy(
    source: Source,
    vecnormalize: Any,
    metadata: Mapping[str, Any] | None,
    order: str | None,
    *,
    silent: bool,
    keep_structure: bool,
) -> SparsePolicy:
    """The policy of `source`; `silent` says that nobody knows whether there was a normaliser."""
    layers = source.chain.layers()
    space = source.observation_space
    normaliser = read_normaliser(vecnormalize)
    step = observation_step(space, normaliser, normalize_images=source.normalize_images)
    head = action_head(source.action_space, layers[-1].shape[0], squashed=source.squashed)
    facts = {
        "source": "stable-baselines3",
        "algorithm": source.algorithm,
        "observation_space": str(space),
        "action_space": str(source.action_space),
        "vecnormalize": "not stated" if silent else "none" if normaliser is None else "built in",
        "versions": versions("torch", "stable-baselines3", "gymnasium"),
        **source.facts,
    }
    box = space if isinstance(space, BoxSpace) else None
    return assemble(
        layers,
        step,
        head,
        facts=facts,
        metadata=metadata,
        space=box,
        order=order,
        keep_structure=keep_structure,
    )


def _check_normaliser_stated(model: Any, vecnormalize: Any) -> None:
    """Refuse to lose the normaliser that the model was trained with."""
    vec = model.get_vec_normalize_env()
    if vecnormalize is None and vec is not None and vec.norm_obs:
        raise ValueError(
            "vecnormalize: expected a statement, for the model's environment normalises "
            "observations: pass vecnormalize=model.get_vec_normalize_env() to build its "
            "statistics into the policy, or vecnormalize=False if observations arrive normalised"
        )
