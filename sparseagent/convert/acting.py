"""From how an agent acts to its policy: the part of conversion that all libraries share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sparseagent.agents import Acting, Agent
from sparseagent.agents.pruned import lost_zeros
from sparseagent.agents.spaces import (
    BoxSpace,
    DiscreteSpace,
    MultiBinarySpace,
    Space,
    inputs,
)
from sparseagent.convert.assemble import assemble
from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.masks import Masks
from sparseagent.convert.normaliser import (
    observation_steps,
)
from sparseagent.convert.torch_trace import trace
from sparseagent.ops import Observation
from sparseagent.policy import SparsePolicy
from sparseagent.policyfile import Observations
from sparseagent.unsupported import UnreadyError


class MasksWarning(UserWarning):
    """An agent that was pruned, or should have been, has lost its zeros."""


def why_not(agent: Agent) -> str:
    """Why an agent cannot be converted, in the words of the conversion; empty where it can.

    Raises:
        UnreadyError: It has a memory or sees images.
    """
    try:
        acting = agent.acting()
        space = acting.observation_space or unbounded(acting.network)
        steps = observation_steps(space, None, normalize_images=acting.normalize_images)
        _add(Builder(), acting, steps)
    except UnreadyError:
        raise
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def policy_of(
    acting: Acting,
    space: Space,
    steps: Mapping[str, Observation],
    masks: Masks | None,
    *,
    facts: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    order: str | None,
) -> SparsePolicy:
    """The policy of an agent, compared with its network.

    Args:
        acting: how it acts.
        space: what the policy observes.
        steps: what happens to each input before the first layer.
        masks: which weights exist, named from `"policy."` on; None for the nonzero ones.
        facts: what the converter knows; `acting` adds to it.
        metadata: what the caller adds.
        order: the summation order, see `SparsePolicy.repack`.
    """
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


def _add(builder: Builder, acting: Acting, steps: Mapping[str, Observation]) -> Mapping[str, Value]:
    """The outputs of an agent's network for what it observes."""
    x = Builder.concat(*(builder.observe(step, name) for name, step in steps.items()))
    outputs: Mapping[str, Value] = trace(builder, acting.network, x)
    _check_outputs(acting.action_space, outputs)
    return outputs


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


def unbounded(network: nn.Module) -> Space:
    """What a network observes whose agent does not know: numbers for its first Linear."""
    width = next(part.in_features for part in network.modules() if isinstance(part, nn.Linear))
    return BoxSpace(*(np.full(width, bound, np.float32) for bound in (-np.inf, np.inf)))
