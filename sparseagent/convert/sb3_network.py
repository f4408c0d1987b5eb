"""Rebuilds the modules of a policy from the names and shapes of its saved tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparseagent.agents.sb3.acting import KINDS
from sparseagent.agents.sb3.ways import (
    ActorCritic,
    DeterministicActor,
    QuantileValues,
    Searched,
    SquashedActor,
    Values,
    Way,
)
from sparseagent.convert.inert_pickle import describe
from sparseagent.csr import Float32

Tensors = Mapping[str, Float32]

#: Linears in a row; deeper actors are not seen, and every layer costs time however small it is.
_MOST_LAYERS = 64
_PLACE = re.compile(r"(\d+)\.(\w+)\Z")
_LINEAR = {"weight", "weight_orig", "weight_mask", "bias", "bias_orig", "bias_mask"}
_RENORM = {"ra_mean", "ra_var", "steps", "scale", "bias"}
#: What gSDE adds under its logarithm.
_EXPLN_EPSILON = 1e-6


@dataclass(frozen=True)
class Options:
    """What the tensors do not say.

    Attributes:
        activation: the module between two Linears.
        squash_output: whether a tanh follows the last Linear of an actor.
        use_sde: whether the noise depends on the state (gSDE).
        use_expln: gSDE's other way from log_std to std.
        clip_mean: bound that SAC with gSDE puts on its mean; 0 for none.
        normalize_images: whether uint8 images are divided by 255.
        renorm_eps: of CrossQ's batch renormalisation.
        actions: how many actions there are, for quantiles.
        stochastic: whether parameters of the distribution are wanted.
        value: whether the value network is wanted.
    """

    activation: nn.Module
    squash_output: bool
    use_sde: bool
    use_expln: bool
    clip_mean: float
    normalize_images: bool
    renorm_eps: float
    actions: int
    stochastic: bool
    value: bool


class _Policy(nn.Module):
    """A policy's attributes and submodules, without its class."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.normalize_images = options.normalize_images
        self.squash_output = options.squash_output
        self.use_sde = options.use_sde
        self.action_dist = SimpleNamespace(use_expln=options.use_expln, epsilon=_EXPLN_EPSILON)
        self.features_extractor = nn.Flatten()


class _MlpExtractor(nn.Module):
    """The hidden layers of actor and critic."""

    def __init__(self, policy_net: nn.Module, value_net: nn.Module) -> None:
        super().__init__()
        self.policy_net = policy_net
        self.value_net = value_net

    def forward_actor(self, features: Tensor) -> Tensor:
        """The actor's last hidden neurons."""
        hidden: Tensor = self.policy_net(features)
        return hidden

    def forward_critic(self, features: Tensor) -> Tensor:
        """The critic's last hidden neurons."""
        hidden: Tensor = self.value_net(features)
        return hidden


def rebuild(kind: str, tensors: Tensors, options: Options) -> nn.Module:
    """The modules that `tensors` name, as `sparseagent.agents.sb3` looks for them.

    Args:
        kind: one of `sparseagent.agents.sb3.acting.KINDS`.
        tensors: the policy's state dict, float32; what is not wanted is not decoded.
        options: what the tensors do not say.

    Raises:
        UnsupportedError: a tensor that is not float32.
        ValueError: tensors that no policy of that kind has; the message names one.
    """
    foreign = [key for key in tensors if "features_extractor." in key or "shared_net." in key]
    if foreign:
        raise ValueError(
            f"policy.pth: expected no learned features extractor (MlpPolicy), got "
            f"{describe(foreign[0])}"
        )
    policy = _Policy(options)
    _FILLERS[KINDS[kind].way](policy, _Parts(tensors, options), options)
    return policy


@dataclass(frozen=True)
class _Parts:
    """Makes modules of the tensors below a name."""

    tensors: Tensors
    options: Options

    def linear(self, path: str) -> nn.Module:
        """The Linear whose tensors lie at `path`."""
        weight, bias = self._tensor(path, "weight"), self._tensor(path, "bias")
        fits = weight is not None and weight.ndim == 2
        if not fits or (bias is not None and bias.shape != weight.shape[:1]):  # type: ignore[union-attr]
            raise ValueError(
                f"policy.pth: {path}: expected weight [out, in] and bias [out], got "
                f"{None if weight is None else weight.shape} and "
                f"{None if bias is None else bias.shape}"
            )
        assert weight is not None
        out, width = weight.shape
        linear = nn.Linear(width, out, bias=bias is not None, device="meta")
        linear.weight = _parameter(weight)
        if bias is not None:
            linear.bias = _parameter(bias)
        return linear

    def sequence(self, path: str, *, hidden: bool) -> nn.Sequential:
        """Linear, activation, Linear, ... and batch norms before the Linears.

        Args:
            path: where the Sequential lies.
            hidden: whether an activation follows the last Linear.
        """
        places = self._places(f"{path}.")
        layers: list[nn.Module] = []
        for place in range(max(places, default=-1) + 1):
            names = places.get(place, set())
            after_linear = bool(layers) and isinstance(layers[-1], nn.Linear)
            if "ra_mean" in names and names <= _RENORM and not after_linear:
                layers.append(self._renorm(f"{path}.{place}"))
            elif names and names <= _LINEAR and not after_linear:
                layers.append(self.linear(f"{path}.{place}"))
            elif not names and after_linear:
                layers.append(self.options.activation)
            elif names:
                key = describe(f"{path}.{place}.{min(names)}")
                raise ValueError(
                    f"policy.pth: expected Linears with an activation after each in {path}, got "
                    f"{key}"
                )
            else:
                raise ValueError(
                    f"policy.pth: expected {path}.0, {path}.1, ... without a gap, got none at "
                    f"{place}"
                )
        if hidden and layers and isinstance(layers[-1], nn.Linear):
            layers.append(self.options.activation)
        if not hidden and not (layers and isinstance(layers[-1], nn.Linear)):
            raise ValueError(f"policy.pth: {path}: expected a Linear at its end, got none")
        return nn.Sequential(*layers)

    def parameter(self, name: str) -> nn.Parameter:
        """A tensor of its own."""
        if name not in self.tensors:
            raise ValueError(f"policy.pth: expected {name}, got none")
        return _parameter(self.tensors[name])

    def mean(self, path: str) -> nn.Module:
        """The last layer of SAC's actor, bounded with gSDE."""
        if f"{path}.0.weight" not in self.tensors and f"{path}.0.weight_orig" not in self.tensors:
            return self.linear(path)
        clip_mean = self.options.clip_mean
        if not clip_mean > 0:
            raise ValueError(
                f"policy_kwargs: clip_mean: expected more than 0 beside {path}.0, got {clip_mean}"
            )
        return nn.Sequential(self.linear(f"{path}.0"), nn.Hardtanh(-clip_mean, clip_mean))

    def _places(self, prefix: str) -> dict[int, set[str]]:
        places: dict[int, set[str]] = {}
        for key in self.tensors:
            if not key.startswith(prefix):
                continue
            match = _PLACE.match(key[len(prefix) :])
            if match is None:
                raise ValueError(
                    f"policy.pth: expected {prefix}0, {prefix}2, ... with weight and bias, got "
                    f"{describe(key)}"
                )
            if len(match[1]) > 3 or int(match[1]) > 3 * _MOST_LAYERS:
                raise ValueError(f"policy.pth: {prefix}: expected at most {_MOST_LAYERS} layers")
            places.setdefault(int(match[1]), set()).add(match[2])
        if sum("weight" in names or "weight_orig" in names for names in places.values()) > (
            _MOST_LAYERS
        ):
            raise ValueError(f"policy.pth: {prefix}: expected at most {_MOST_LAYERS} layers")
        return places

    def _renorm(self, path: str) -> nn.Module:
        """Batch renormalisation as what it is at evaluation."""
        mean, var = (np.array(self.tensors[f"{path}.{name}"]) for name in ("ra_mean", "ra_var"))
        scale, bias = (self._tensor(path, name) for name in ("scale", "bias"))
        for array in (mean, var, scale, bias):
            if array is None or array.ndim != 1 or array.shape != mean.shape:
                raise ValueError(f"policy.pth: {path}: expected ra_mean, ra_var, scale, bias [n]")
        norm = nn.BatchNorm1d(1, eps=self.options.renorm_eps)
        norm.num_features = mean.size
        norm.running_mean, norm.running_var = torch.from_numpy(mean), torch.from_numpy(var)
        norm.weight, norm.bias = _parameter(scale), _parameter(bias)  # type: ignore[arg-type]
        return norm.eval()

    def _tensor(self, path: str, attribute: str) -> Float32 | None:
        """A parameter, with the mask of `torch.nn.utils.prune` where the file holds one."""
        name = f"{path}.{attribute}"
        if name in self.tensors or f"{name}_orig" not in self.tensors:
            return self.tensors.get(name)
        weight, mask = self.tensors[f"{name}_orig"], self.tensors.get(f"{name}_mask")
        if mask is None or mask.shape != weight.shape:
            raise ValueError(f"policy.pth: {name}_mask: expected the mask of {name}_orig")
        return weight * mask


def _parameter(array: Float32) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(array)), requires_grad=False)


def _actor_critic(policy: Any, parts: _Parts, options: Options) -> None:
    policy.pi_features_extractor = policy.vf_features_extractor = policy.features_extractor
    value_net: nn.Module = nn.Identity()
    if options.value:
        value_net = parts.sequence("mlp_extractor.value_net", hidden=True)
        policy.value_net = parts.linear("value_net")
    policy_net = parts.sequence("mlp_extractor.policy_net", hidden=True)
    policy.mlp_extractor = _MlpExtractor(policy_net, value_net)
    policy.action_net = parts.linear("action_net")
    if options.stochastic and "log_std" in parts.tensors:
        policy.log_std = parts.parameter("log_std")


def _q_network(policy: Any, parts: _Parts, options: Options) -> None:
    policy.q_net = nn.Module()
    policy.q_net.features_extractor = policy.features_extractor
    policy.q_net.q_net = parts.sequence("q_net.q_net", hidden=False)


def _quantiles(policy: Any, parts: _Parts, options: Options) -> None:
    net: Any = nn.Module()
    net.features_extractor = policy.features_extractor
    net.quantile_net = parts.sequence("quantile_net.quantile_net", hidden=False)
    outputs = net.quantile_net[-1].out_features
    if outputs % options.actions:
        raise ValueError(
            f"policy.pth: expected the same number of quantiles for each of {options.actions} "
            f"actions, got {outputs} outputs"
        )
    net.n_quantiles = outputs // options.actions
    net.action_space = SimpleNamespace(n=options.actions)
    policy.quantile_net = net


def _squashed_actor(policy: Any, parts: _Parts, options: Options) -> None:
    actor: Any = _Policy(options)
    actor.latent_pi = parts.sequence("actor.latent_pi", hidden=True)
    actor.mu = parts.mean("actor.mu")
    if options.stochastic and options.use_sde:
        actor.log_std = parts.parameter("actor.log_std")
    elif options.stochastic:
        actor.log_std = parts.linear("actor.log_std")
    policy.actor = actor


def _deterministic_actor(policy: Any, parts: _Parts, options: Options) -> None:
    policy.actor = nn.Module()
    policy.actor.features_extractor = policy.features_extractor
    policy.actor.mu = parts.sequence("actor.mu", hidden=False).append(nn.Tanh())


def _searched(policy: Any, parts: _Parts, options: Options) -> None:
    policy.action_net = parts.sequence("action_net", hidden=False)
    if options.squash_output:
        policy.action_net.append(nn.Tanh())


_FILLERS: Mapping[type[Way], Callable[[Any, _Parts, Options], None]] = {
    ActorCritic: _actor_critic,
    Values: _q_network,
    QuantileValues: _quantiles,
    SquashedActor: _squashed_actor,
    DeterministicActor: _deterministic_actor,
    Searched: _searched,
}
