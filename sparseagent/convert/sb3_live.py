"""Reads a live Stable-Baselines3 model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.sb3_source import FAMILIES, Source, remembers_normaliser
from sparseagent.convert.spaces import Space, read_space
from sparseagent.convert.torch_trace import add_module

#: The methods between an observation and an action; a subclass that changes one is refused.
_METHODS = (
    "predict",
    "_predict",
    "forward",
    "forward_actor",
    "get_distribution",
    "_get_action_dist_from_latent",
    "get_action_dist_params",
    "extract_features",
    "obs_to_tensor",
    "unscale_action",
)


def read_model(model: Any, observation_space: Any, action_space: Any) -> Source:
    """Read the actor of a live PPO, A2C, DQN, SAC, TD3 or DDPG model.

    Args:
        model: the model; it is not changed.
        observation_space: replaces the model's own, or None.
        action_space: replaces the model's own, or None.

    Raises:
        TypeError: another algorithm, or a module, class or space that cannot be represented.
        ValueError: an option or a number that a policy cannot hold.
    """
    algorithm = _algorithm(model)
    observation_space = _space(model, "observation_space", observation_space)
    action_space = _space(model, "action_space", action_space)
    family = FAMILIES[algorithm]
    parts, squashed = _READERS[family](model.policy)

    def network(builder: Builder, x: Value) -> Value:
        for path, module in parts:
            x = add_module(builder, x, path, module)
        return x

    return Source(
        algorithm,
        network,
        squashed,
        observation_space,
        action_space,
        bool(model.policy.normalize_images),
        {},
        remembers_normaliser(family, model.num_timesteps, model._last_original_obs),
    )


def _space(model: Any, name: str, given: Any) -> Space:
    return read_space(name, getattr(model, name) if given is None else given)


Parts = list[tuple[str, nn.Module]]


def _algorithm(model: Any) -> str:
    for kind in (PPO, A2C, DQN, SAC, DDPG, TD3):  # DDPG before TD3, from which it derives
        if isinstance(model, kind):
            _check_untouched("model", model, kind)
            return kind.__name__
    raise TypeError(
        f"model: expected a PPO, A2C, DQN, SAC, TD3 or DDPG model or the path of its zip, "
        f"got {type(model).__name__}"
    )


def _on_policy(policy: Any) -> tuple[Parts, bool]:
    _check_untouched("policy", policy, ActorCriticPolicy)
    _check_extractor("policy.pi_features_extractor", policy.pi_features_extractor)
    _check_untouched("policy.mlp_extractor", policy.mlp_extractor, MlpExtractor)
    parts: Parts = [
        ("policy.mlp_extractor.policy_net", policy.mlp_extractor.policy_net),
        ("policy.action_net", policy.action_net),
    ]
    if policy.squash_output:
        parts.append(("policy.action_dist", nn.Tanh()))
    return parts, bool(policy.squash_output)


def _q_network(policy: Any) -> tuple[Parts, bool]:
    _check_untouched("policy", policy, DQNPolicy)
    _check_untouched("policy.q_net", policy.q_net, QNetwork)
    _check_extractor("policy.q_net.features_extractor", policy.q_net.features_extractor)
    return [("policy.q_net.q_net", policy.q_net.q_net)], False


def _sac(policy: Any) -> tuple[Parts, bool]:
    _check_untouched("policy", policy, SACPolicy)
    _check_untouched("policy.actor", policy.actor, SACActor)
    _check_extractor("policy.actor.features_extractor", policy.actor.features_extractor)
    parts: Parts = [
        ("policy.actor.latent_pi", policy.actor.latent_pi),
        ("policy.actor.mu", policy.actor.mu),
        ("policy.actor.action_dist", nn.Tanh()),
    ]
    return parts, True


def _td3(policy: Any) -> tuple[Parts, bool]:
    _check_untouched("policy", policy, TD3Policy)
    _check_untouched("policy.actor", policy.actor, TD3Actor)
    _check_extractor("policy.actor.features_extractor", policy.actor.features_extractor)
    if not isinstance(list(policy.actor.mu)[-1], nn.Tanh):
        raise TypeError("module 'policy.actor.mu': expected a Tanh at its end, got none")
    return [("policy.actor.mu", policy.actor.mu)], True


def _check_untouched(path: str, thing: Any, base: type) -> None:
    """Refuse a subclass that acts in another way than `base`: its weights would not say so."""
    if not isinstance(thing, base):
        raise TypeError(
            f"module '{path}' ({type(thing).__name__}): expected {base.__name__} (MlpPolicy)"
        )
    for method in _METHODS:
        if getattr(type(thing), method, None) is not getattr(base, method, None):
            raise TypeError(
                f"module '{path}' ({type(thing).__name__}): expected the {method} of "
                f"{base.__name__}, got one of its own"
            )


def _check_extractor(path: str, extractor: nn.Module) -> None:
    if type(extractor) is not FlattenExtractor:
        raise TypeError(
            f"module '{path}' ({type(extractor).__name__}): expected a FlattenExtractor (MlpPolicy)"
        )


_READERS: Mapping[str, Callable[[Any], tuple[Parts, bool]]] = {
    "on-policy": _on_policy,
    "q-network": _q_network,
    "sac": _sac,
    "td3": _td3,
}
