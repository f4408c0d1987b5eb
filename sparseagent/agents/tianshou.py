"""Tianshou: policies whose actions are mapped to the action space when they are played.

`map_action` bounds by a clip to [-1, 1] or by tanh, then scales to the space's bounds. Observations
are normalised by `VectorEnvNormObs`, outside of the policy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import Agent, Network, Roles, comes_from, derives, refuse_unready
from sparseagent.agents.spaces import BoxSpace, DiscreteSpace, Space, read_space
from sparseagent.head import Argmax, Head, Raw, clip_to, unscale_to
from sparseagent.unsupported import UnsupportedError

_NETS = "tianshou.utils.net"
_POLICY = "tianshou.algorithm.algorithm_base.Policy"
_FREE = "tianshou.algorithm.modelfree"
_KINDS = {
    "sac": f"{_FREE}.sac.SACPolicy",
    "values": f"{_FREE}.dqn.DiscreteQLearningPolicy",
    "actor": f"{_FREE}.ddpg.ContinuousDeterministicPolicy",
    "distribution": f"{_FREE}.reinforce.ProbabilisticActorPolicy",
}
#: Policies that derive from these and act in ways of their own.
_OTHERS = ("QRDQNPolicy", "C51Policy", "FQFPolicy", "IQNPolicy", "BDQNPolicy", "RainbowPolicy")


def adapt(thing: object) -> Agent | None:
    """A policy, or an algorithm with its policy."""
    if not comes_from(thing, "tianshou"):
        return None
    policy = thing if derives(thing, _POLICY) else getattr(thing, "policy", None)
    if not isinstance(policy, nn.Module) or not derives(policy, _POLICY):
        return None
    return Tianshou(policy, None if thing is policy else thing)


class Way(nn.Module):
    """From features to what the policy plays, before it is scaled."""

    def __init__(self, policy: nn.Module, kind: str, *, discrete: bool) -> None:
        super().__init__()
        self.policy: Any = policy
        self.kind = kind
        self.discrete = discrete

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to bounded means, or values of actions."""
        policy = self.policy
        if self.kind == "values":
            return {"action": _run(policy.model, x)}
        mean = _run(policy.actor, x)
        if self.discrete:
            return {"action": mean}
        if self.kind == "sac":
            mean = torch.tanh(mean)
        if policy.action_bound_method == "clip":
            mean = torch.clamp(mean, -1.0, 1.0)
        elif policy.action_bound_method == "tanh":
            mean = torch.tanh(mean)
        return {"action": mean}


def _run(net: Any, x: Tensor) -> Tensor:
    """What a network of the library gives first, without its conversions from arrays."""
    if derives(net, f"{_NETS}.common.MLP"):
        return net.model(x)  # type: ignore[no-any-return]
    if derives(net, f"{_NETS}.common.Net") and net.num_atoms == 1:
        logits = _run(net.model, x)
        if net.use_dueling:
            q, v = _run(net.Q, logits), _run(net.V, logits)
            logits = q - q.mean(dim=1, keepdim=True) + v
        return torch.softmax(logits, dim=-1) if net.softmax else logits
    if derives(net, f"{_NETS}.continuous.ContinuousActorDeterministic"):
        hidden = _run(net.preprocess, x)
        return net.max_action * torch.tanh(_run(net.last, hidden))  # type: ignore[no-any-return]
    if derives(net, f"{_NETS}.continuous.ContinuousActorProbabilistic"):
        mean = _run(net.mu, _run(net.preprocess, x))
        return mean if net._unbounded else net.max_action * torch.tanh(mean)
    if derives(net, f"{_NETS}.discrete.DiscreteActor"):
        return _run(net.last, _run(net.preprocess, x))  # a softmax leaves the largest the largest
    found = net(x)
    while isinstance(found, tuple):
        found = found[0]
    return found  # type: ignore[no-any-return]


class Tianshou(Agent):
    """A policy, and the algorithm that it belongs to."""

    library = "tianshou"

    def roles(self) -> Roles:
        """All modules that hold weights, by what they do."""
        if self._kind() == "values":
            return Roles("q_net", (self.module.get_submodule("model"),))
        actor = self.module.get_submodule("actor")
        names = ("critic", "critic2")
        critics = [getattr(self.model, name, None) for name in names]
        return Roles("actor", (actor,), tuple(c for c in critics if isinstance(c, nn.Module)))

    def networks(self) -> list[Network]:
        """The network that acts; critics take other inputs."""
        return [Network(self.roles().acting[0], None, False, "actor")]

    def acting(
        self,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        stochastic: bool = False,
        value: bool = False,
    ) -> Acting:
        """How it acts: for conversion."""
        policy: Any = self.module
        refuse_unready(type(policy).__name__, policy)
        if stochastic or value:
            raise ValueError("stochastic, value: expected False for policies of Tianshou")
        kind = self._kind()
        given = policy.action_space if action_space is None else action_space
        space = read_space("action_space", given)
        observed = getattr(policy, "observation_space", None)
        observed = observed if observation_space is None else observation_space
        return Acting(
            type(policy).__name__.removesuffix("Policy"),
            Way(policy, kind, discrete=isinstance(space, DiscreteSpace)),
            policy,
            None if observed is None else read_space("observation_space", observed),
            space,
            _head(policy, space),
        )

    def _kind(self) -> str:
        kind = next((name for name, path in _KINDS.items() if derives(self.module, path)), "")
        other = any(base.__name__ in _OTHERS for base in type(self.module).__mro__)
        if not kind or other:
            raise UnsupportedError(
                f"module 'policy' ({type(self.module).__name__}): expected a policy of Reinforce, "
                "A2C, PPO, TRPO, NPG, SAC, TD3, DDPG or DQN"
            )
        return kind


def _head(policy: Any, space: Space) -> Head:
    if isinstance(space, DiscreteSpace):
        return Argmax()
    if not isinstance(space, BoxSpace):
        raise UnsupportedError(f"action_space: expected a Box or Discrete, got {space}")
    if policy.action_scaling:
        low, high = (np.asarray(bound, np.float32) for bound in (space.low, space.high))
        return unscale_to(low, high)
    if policy.action_bound_method == "clip":
        return clip_to(np.full(space.shape, -1.0), np.full(space.shape, 1.0))
    return Raw()
