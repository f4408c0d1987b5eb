"""CleanRL: agents that are classes of a script, told by what they hold.

    ppo, ppo_continuous_action, rpo    critic, and actor or actor_mean with actor_logstd
    dqn, pqn                           QNetwork with network
    c51                                QNetwork with network and atoms
    sac_continuous_action              Actor with fc_mean, fc_logstd, action_scale, action_bias
    td3, ddpg_continuous_action        Actor with fc_mu, action_scale, action_bias

The scripts hold neither spaces nor the statistics of their `NormalizeObservation`: both come from
the environment. Deterministic actions are means and greedy ones; the scripts' own evaluation of PPO
and SAC samples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import Agent, Roles, comes_from, refuse_unready
from sparseagent.agents.spaces import BoxSpace, DiscreteSpace, Space, read_space
from sparseagent.distributions import Categorical, DiagGaussian, EpsilonGreedy
from sparseagent.head import Argmax, Head, Raw, clip_to, unscale_to

#: Modules of libraries that have files of their own.
_OTHERS = ("stable_baselines3", "sb3_contrib", "rsl_rl", "rl_games", "skrl", "tianshou", "torch")


def adapt(thing: object) -> Agent | None:
    """An agent, a Q-network or an actor of a CleanRL script."""
    if not isinstance(thing, nn.Module) or any(comes_from(thing, name) for name in _OTHERS[:-1]):
        return None
    if type(thing).__module__.split(".")[0] == "torch":
        return None
    algorithm = _algorithm(thing)
    return CleanRL(thing, algorithm) if algorithm else None


def _algorithm(module: nn.Module) -> str:
    """The script's algorithm, empty for another module."""
    parts, buffers = dict(module.named_children()), dict(module.named_buffers(recurse=False))
    scaled = {"action_scale", "action_bias"} <= buffers.keys()
    if "critic" in parts and callable(getattr(module, "get_action_and_value", None)):
        if "actor_mean" in parts and "actor_logstd" in module._parameters:
            return "PPO (continuous)"
        return "PPO" if "actor" in parts else ""
    if scaled and {"fc_mean", "fc_logstd"} <= parts.keys():
        return "SAC"
    if scaled and "fc_mu" in parts:
        return "TD3"
    if type(module).__name__ == "QNetwork" and parts.keys() == {"network"}:
        return "C51" if "atoms" in buffers and hasattr(module, "n_atoms") else "DQN"
    return ""


class Way(nn.Module):
    """From the features of an observation to the outputs, by the layers of `policy`."""

    def __init__(self, policy: nn.Module, algorithm: str, *, stochastic: bool, value: bool) -> None:
        super().__init__()
        self.policy: Any = policy
        self.algorithm = algorithm
        self.stochastic = stochastic
        self.value = value

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to means, logits or values of actions, and what else is asked for."""
        outputs: dict[str, Tensor] = getattr(self, _WAYS[self.algorithm])(x)
        if self.value:
            outputs["value"] = self.policy.critic(x)
        return outputs

    def _actor(self, x: Tensor) -> dict[str, Tensor]:
        return {"action": self.policy.actor(x)}

    def _means(self, x: Tensor) -> dict[str, Tensor]:
        return {"action": self.policy.actor_mean(x)}

    def _values(self, x: Tensor) -> dict[str, Tensor]:
        return {"action": self.policy(x)}

    def _atoms(self, x: Tensor) -> dict[str, Tensor]:
        policy = self.policy
        logits = policy.network(x).view(-1, policy.n, policy.n_atoms)
        return {"action": (torch.softmax(logits, dim=2) * policy.atoms).sum(2)}

    def _squashed(self, x: Tensor) -> dict[str, Tensor]:
        mean, log_std = self.policy(x)
        if self.stochastic:
            return {"action": mean, "log_std": log_std}
        return {"action": torch.tanh(mean) * self.policy.action_scale + self.policy.action_bias}


_WAYS = {
    "PPO": "_actor",
    "PPO (continuous)": "_means",
    "DQN": "_values",
    "C51": "_atoms",
    "SAC": "_squashed",
    "TD3": "_values",
}


class CleanRL(Agent):
    """An agent of a script.

    Args:
        module: The agent, Q-network or actor.
        algorithm: Which script's.
    """

    library = "cleanrl"

    def __init__(self, module: nn.Module, algorithm: str) -> None:
        super().__init__(module)
        self.algorithm = algorithm

    def roles(self) -> Roles:
        """All modules that hold weights, by what they do."""
        parts = dict(self.module.named_children())
        if self.algorithm.startswith("PPO"):
            shared = (parts["network"],) if "network" in parts else ()
            actor = parts.get("actor_mean") or parts["actor"]
            return Roles("actor", (actor,), (parts["critic"],), shared=shared)
        if self.algorithm in ("DQN", "C51"):
            return Roles("q_net", (self.module,))
        left_out = (parts["fc_logstd"],) if self.algorithm == "SAC" else ()
        return Roles("actor", (self.module,), left_out=left_out)

    def acting(
        self,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        stochastic: bool = False,
        value: bool = False,
    ) -> Acting:
        """How it acts: for conversion."""
        refuse_unready(type(self.module).__name__, self.module)
        if value and not self.algorithm.startswith("PPO"):
            raise ValueError(f"value: expected False for {self.algorithm}, which has no value")
        way = Way(self.module, self.algorithm, stochastic=stochastic, value=value)
        space = _space("action_space", action_space)
        facts: dict[str, Any] = {}
        if stochastic and self.algorithm == "SAC":
            facts["quirks"] = ["log-probabilities leave out the constant of action_scale"]
        return Acting(
            self.algorithm,
            way,
            self.module,
            _space("observation_space", observation_space),
            space,
            self._distribution(space) if stochastic else self._mode(space),
            facts=facts,
        )

    def _mode(self, space: Space | None) -> Head:
        if self.algorithm in ("PPO", "DQN", "C51"):
            return Argmax()
        if self.algorithm == "PPO (continuous)" and isinstance(space, BoxSpace):
            return clip_to(space.low, space.high)  # as the script's ClipAction does
        return Raw()

    def _distribution(self, space: Space | None) -> Head:
        module: Any = self.module
        if self.algorithm == "PPO":
            return Categorical()
        if self.algorithm in ("DQN", "C51"):
            return EpsilonGreedy(0.0)
        if self.algorithm == "PPO (continuous)":
            bounds: Any = self._mode(space)
            return DiagGaussian(_array(module.actor_logstd), bounds=bounds)
        if self.algorithm == "SAC":
            scale, bias = _array(module.action_scale), _array(module.action_bias)
            bounds = unscale_to(bias - scale, bias + scale)
            return DiagGaussian(None, bounds=bounds, squash=True)
        raise ValueError(
            "stochastic: expected False for TD3 and DDPG, whose policies know no distribution"
        )


def _array(tensor: Tensor) -> Any:
    return tensor.detach().float().cpu().numpy().ravel().copy()


def _space(name: str, given: Any) -> Space | None:
    space = None if given is None else read_space(name, given)
    if isinstance(space, DiscreteSpace) and space.start:
        return DiscreteSpace(space.n)  # the scripts count from 0
    return space
