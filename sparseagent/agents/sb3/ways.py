"""From the features of an observation to what the action is made of, one class a structure.

The modules that a way goes through are those of a live policy, or those that are rebuilt from a
zip: both have submodules of the same names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.agents.spaces import DictSpace, Space

_EXTRACTORS = "stable_baselines3.common.torch_layers"


class Way(nn.Module):
    """From the features of an observation to the outputs, by the layers of `policy`.

    Args:
        policy: Live, or rebuilt from a zip.
        space: Of the observation.
        stochastic: Whether the outputs are what the policy's distribution is made of.
        value: Whether the value network's output comes along.
    """

    def __init__(self, policy: nn.Module, space: Space, *, stochastic: bool, value: bool) -> None:
        super().__init__()
        self.policy: Any = policy
        self.space = space
        self.stochastic = stochastic
        self.value = value

    def features(self, extractor: nn.Module, x: Tensor) -> Tensor:
        """What an extractor makes of the features `[B, in]`."""
        if is_plain(extractor):
            return x
        if not isinstance(self.space, DictSpace):
            shape = getattr(self.space, "shape", (0,))
            given = x.view(-1, *shape) if len(shape) > 1 else x
            features: Tensor = extractor(given)
            return features
        parts, start = {}, 0
        for key, space in self.space.spaces.items():
            part, start = x[:, start : start + space.size], start + space.size
            shape = getattr(space, "shape", (0,))
            parts[key] = part.view(-1, *shape) if len(shape) > 1 else part
        features = extractor(parts)
        return features


class ActorCritic(Way):
    """PPO, A2C, TRPO, MaskablePPO."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to means or logits, and what else is asked for."""
        policy = self.policy
        features = self.features(policy.pi_features_extractor, x)
        latent = policy.mlp_extractor.forward_actor(features)
        mean = policy.action_net(latent)
        if self.stochastic:
            outputs = {"action": mean}
            if getattr(policy, "use_sde", False):  # MaskablePPO has none
                outputs["latent"] = latent
        else:
            outputs = {"action": torch.tanh(mean) if policy.squash_output else mean}
        if self.value:
            if policy.vf_features_extractor is not policy.pi_features_extractor:
                features = self.features(policy.vf_features_extractor, x)
            outputs["value"] = policy.value_net(policy.mlp_extractor.forward_critic(features))
        return outputs


class SquashedActor(Way):
    """SAC, TQC, CrossQ."""

    def __init__(self, policy: Any, space: Space, *, stochastic: bool, value: bool) -> None:
        super().__init__(policy, space, stochastic=stochastic, value=value)
        self.latent_pi = evaluated(policy.actor.latent_pi)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to squashed means, or to means and what the noise is made of."""
        actor = self.policy.actor
        latent = self.latent_pi(self.features(actor.features_extractor, x))
        mean = actor.mu(latent)
        if not self.stochastic:
            return {"action": torch.tanh(mean)}
        if actor.use_sde:
            return {"action": mean, "latent": latent}
        return {"action": mean, "log_std": actor.log_std(latent)}


class DeterministicActor(Way):
    """TD3, DDPG."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to squashed actions."""
        actor = self.policy.actor
        return {"action": actor.mu(self.features(actor.features_extractor, x))}


class Values(Way):
    """DQN."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to the value of each action."""
        q_net = self.policy.q_net
        return {"action": q_net.q_net(self.features(q_net.features_extractor, x))}


class QuantileValues(Way):
    """QR-DQN: the mean of the quantiles, which lie quantile by quantile."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to the value of each action."""
        net = self.policy.quantile_net
        quantiles = net.quantile_net(self.features(net.features_extractor, x))
        return {"action": quantiles.view(-1, net.n_quantiles, int(net.action_space.n)).mean(dim=1)}


class Searched(Way):
    """ARS."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to actions or logits."""
        features = self.features(self.policy.features_extractor, x)
        return {"action": self.policy.action_net(features)}


def is_plain(extractor: nn.Module) -> bool:
    """Whether an extractor leaves features as they are: it flattens, or joins what is flat."""
    if isinstance(extractor, nn.Flatten) or type(extractor) is nn.Identity:
        return True
    kind = type(extractor)
    if kind.__module__ != _EXTRACTORS:
        return False
    if kind.__name__ == "CombinedExtractor":
        return all(type(part) is nn.Flatten for part in extractor.extractors.values())  # type: ignore[operator]
    return kind.__name__ == "FlattenExtractor"


def evaluated(sequence: nn.Module) -> nn.Module:
    """The same layers, with batch renormalisation as what it is at evaluation: batch norm."""
    children = [child for child in sequence._modules.values() if child is not None]
    if not any(type(child).__name__ == "BatchRenorm1d" for child in children):
        return sequence
    return nn.Sequential(*(_plain_norm(child) for child in children))


def _plain_norm(module: Any) -> nn.Module:
    if type(module).__name__ != "BatchRenorm1d":
        return module  # type: ignore[no-any-return]
    norm = nn.BatchNorm1d(module.num_features, eps=module.eps, affine=bool(module.affine))
    norm.running_mean, norm.running_var = module.ra_mean, module.ra_var
    if module.affine:
        norm.weight, norm.bias = module.scale, module.bias
    return norm.eval()
