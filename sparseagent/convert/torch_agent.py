"""From a chain of torch modules to a SparsePolicy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from sparseagent.convert.assemble import assemble, versions
from sparseagent.convert.builder import Builder
from sparseagent.convert.masks import read_masks
from sparseagent.convert.torch_modules import add_module
from sparseagent.head import Head, Raw
from sparseagent.ops import Observation
from sparseagent.policy import SparsePolicy


def from_torch(
    module: nn.Module,
    *,
    observation: Observation | None = None,
    head: Head | None = None,
    metadata: Mapping[str, Any] | None = None,
    order: str | None = None,
    masks: Any = None,
) -> SparsePolicy:
    """Convert a chain of Linear modules and activations, as it acts at evaluation.

    Sequential (nested too), Linear, Identity, Dropout, Flatten, ReLU, ReLU6, Hardtanh, Tanh,
    Sigmoid, ELU, LeakyReLU, SiLU, GELU, SELU, CELU, Softplus, Softsign and Mish are known. Exact
    zeros of the weights become absent entries; a weight without any zero is stored dense. Masks of
    `torch.nn.utils.prune` and parametrizations are applied. Hidden neurons that cannot influence
    the output are removed.
    The module is not changed and may lie on any device.

    Args:
        module: maps float32 `[B, in]` to `[B, out]`; its parameters are float32.
        observation: the step before the module; by default the float32 observation `[in]` as it
            comes. The normaliser of the training belongs here.
        head: the step after the module; by default the outputs are the action.
        metadata: JSON-able facts to add, such as `environment`.
        order: the order in which rows are summed, see `SparsePolicy.repack`; None for the one that
            the widest instruction set of this machine runs fastest.
        masks: a `Sparsifier` of the module, or bool masks `[out, in]` by the name of the weight.
            Then they say which entries a layer has, whatever the values, layers without one have
            all, and no neuron is removed: all policies of the same masks have the same structure,
            as `Plan.update` needs it.

    Returns:
        The policy, with a self-test of eight observations.

    Raises:
        TypeError: a module that is not known, named with its path, or weights that are not
            float32 (call `module.float()` to round them).
        ValueError: an option or a number that a policy cannot hold, or parts that do not fit.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    arrays = read_masks(masks)
    builder = Builder(arrays)
    step = Observation((_width(module),)) if observation is None else observation
    if not isinstance(step, Observation):
        raise TypeError(f"observation: expected an instance of Observation, got {step!r}")
    action = add_module(builder, builder.observe(step), "", module)
    return assemble(
        builder,
        {"action": action},
        Raw() if head is None else head,
        facts={"source": "torch", "versions": versions("torch")},
        metadata=metadata,
        order=order,
    )


def _width(module: nn.Module) -> int:
    """The inputs of the first Linear."""
    first = next((part for part in module.modules() if isinstance(part, nn.Linear)), None)
    if first is None:
        raise ValueError("module: expected at least one Linear, got none")
    return first.in_features
