"""Rebuilds an actor's network from the names and shapes of its saved tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.inert_pickle import describe
from sparseagent.convert.torch_trace import add_module
from sparseagent.csr import Float32

Tensors = Mapping[str, Float32]

#: Linears in a row; deeper actors are not seen, and every layer costs time however small it is.
_MOST_LAYERS = 64

#: Where the actor's tensors lie; a name that ends in a dot is a Sequential.
_PARTS: Mapping[str, tuple[str, ...]] = {
    "on-policy": ("mlp_extractor.policy_net.", "action_net"),
    "q-network": ("q_net.q_net.",),
    "sac": ("actor.latent_pi.", "actor.mu"),
    "td3": ("actor.mu.",),
}
_SUFFIX = re.compile(r"(\d+)\.(weight|weight_orig|weight_mask|bias|bias_orig|bias_mask)\Z")


def add_network(
    builder: Builder,
    x: Value,
    family: str,
    tensors: Tensors,
    activation: nn.Module,
    *,
    squashed: bool,
    clip_mean: float,
) -> Value:
    """The network from the flattened observation to the head.

    Args:
        builder: what is being built.
        x: the flattened observation.
        family: one of the values of `sb3_source.FAMILIES`.
        tensors: the policy's state dict, float32.
        activation: the module between two Linears.
        squashed: whether a tanh follows the last Linear.
        clip_mean: bound that SAC with gSDE puts on its mean; 0 for none.

    Raises:
        UnsupportedError: a tensor that is not float32, or an activation that is not known.
        ValueError: tensors that no MlpPolicy has; the message names one.
    """
    foreign = [key for key in tensors if "features_extractor." in key or "shared_net." in key]
    if foreign:
        raise ValueError(
            f"policy.pth: expected no learned features extractor (MlpPolicy), got "
            f"{describe(foreign[0])}"
        )
    for part in _PARTS[family]:
        if part.endswith("."):
            ends = part != _PARTS[family][-1]
            x = _add_sequence(builder, x, part, tensors, activation, ends_in_activation=ends)
        elif f"{part}.0.weight" in tensors or f"{part}.0.weight_orig" in tensors:
            x = _add_linear(builder, x, f"{part}.0", tensors)  # SAC with gSDE bounds its mean
            if not clip_mean > 0:
                raise ValueError(
                    f"policy_kwargs: clip_mean: expected more than 0 beside {part}.0, got "
                    f"{clip_mean}"
                )
            x = add_module(builder, x, f"{part}.1", nn.Hardtanh(-clip_mean, clip_mean))
        else:
            x = _add_linear(builder, x, part, tensors)
    if squashed:
        x = add_module(builder, x, "tanh", nn.Tanh())
    return x


def _add_sequence(
    builder: Builder,
    x: Value,
    prefix: str,
    tensors: Tensors,
    activation: nn.Module,
    *,
    ends_in_activation: bool,
) -> Value:
    """Linear, activation, Linear, ...: the places 0, 2, 4, ... hold the Linears."""
    places = set()
    for key in tensors:
        if key.startswith(prefix):
            match = _SUFFIX.match(key[len(prefix) :])
            if match is None or int(match[1]) % 2:
                raise ValueError(
                    f"policy.pth: expected {prefix}0, {prefix}2, ... with weight and bias, "
                    f"got {describe(key)}"
                )
            places.add(int(match[1]))
    count = len(places)
    if count > _MOST_LAYERS:
        raise ValueError(f"policy.pth: {prefix}: expected at most {_MOST_LAYERS} layers")
    if places != set(range(0, 2 * count, 2)):
        raise ValueError(
            f"policy.pth: expected {prefix}0, {prefix}2, ... without a gap, got {sorted(places)}"
        )
    for number in range(count):
        x = _add_linear(builder, x, f"{prefix}{2 * number}", tensors)
        if number < count - 1 or ends_in_activation:
            x = add_module(builder, x, f"{prefix}{2 * number + 1}", activation)
    return x


def _add_linear(builder: Builder, x: Value, path: str, tensors: Tensors) -> Value:
    weight, bias = _tensor(tensors, path, "weight"), _tensor(tensors, path, "bias")
    if weight is None or weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        raise ValueError(
            f"policy.pth: {path}: expected weight [out, in] and bias [out], got "
            f"{None if weight is None else weight.shape} and "
            f"{None if bias is None else bias.shape}"
        )
    name = f"module '{path}' (Linear)"
    return builder.linear(x, weight, bias, key=f"{path}.weight", path=name)


def _tensor(tensors: Tensors, path: str, attribute: str) -> Float32 | None:
    """A parameter, with the mask of `torch.nn.utils.prune` where the file holds one."""
    name = f"{path}.{attribute}"
    if name in tensors or f"{name}_orig" not in tensors:
        return tensors.get(name)
    weight, mask = tensors[f"{name}_orig"], tensors.get(f"{name}_mask")
    if mask is None or mask.shape != weight.shape:
        raise ValueError(f"policy.pth: {name}_mask: expected the mask of {name}_orig")
    return weight * mask
