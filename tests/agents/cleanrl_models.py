"""Agents as the scripts of CleanRL define them: the same names, layers and formulas."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributions import Categorical, Normal
from torch.nn import functional

LOG_STD_MAX, LOG_STD_MIN = 2, -5


class Agent(nn.Module):
    """ppo.py"""

    def __init__(self, observed: int, actions: int) -> None:
        super().__init__()
        self.critic = _mlp(observed, 1)
        self.actor = _mlp(observed, actions)

    def get_value(self, x: torch.Tensor) -> Any:
        return self.critic(x)

    def get_action_and_value(self, x: torch.Tensor, action: Any = None) -> Any:
        probs = Categorical(logits=self.actor(x))
        action = probs.sample() if action is None else action
        return action, probs.log_prob(action), probs.entropy(), self.critic(x)


class ContinuousAgent(nn.Module):
    """ppo_continuous_action.py"""

    def __init__(self, observed: int, actions: int) -> None:
        super().__init__()
        self.critic = _mlp(observed, 1)
        self.actor_mean = _mlp(observed, actions)
        self.actor_logstd = nn.Parameter(torch.full((1, actions), -0.5))

    def get_value(self, x: torch.Tensor) -> Any:
        return self.critic(x)

    def get_action_and_value(self, x: torch.Tensor, action: Any = None) -> Any:
        mean = self.actor_mean(x)
        probs = Normal(mean, torch.exp(self.actor_logstd.expand_as(mean)))
        action = probs.sample() if action is None else action
        return action, probs.log_prob(action).sum(1), probs.entropy().sum(1), self.critic(x)


class QNetwork(nn.Module):
    """dqn.py; with atoms, c51.py"""

    def __init__(self, observed: int, actions: int, atoms: int = 0) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(nn.Linear(observed, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU()),
            nn.Linear(16, actions * max(1, atoms)),
        )
        if atoms:
            self.n, self.n_atoms = actions, atoms
            self.register_buffer("atoms", torch.linspace(-20, 30, steps=atoms))

    def forward(self, x: torch.Tensor) -> Any:
        return self.network(x)

    def get_action(self, x: torch.Tensor) -> Any:
        logits = self.network(x)
        pmfs = torch.softmax(logits.view(len(x), self.n, self.n_atoms), dim=2)
        return torch.argmax((pmfs * self.atoms).sum(2), 1)


class _Scaled(nn.Module):
    def __init__(self, observed: int, space: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(observed, 24)
        self.fc2 = nn.Linear(24, 16)
        low, high = torch.tensor(space.low), torch.tensor(space.high)
        self.register_buffer("action_scale", (high - low) / 2.0)
        self.register_buffer("action_bias", (high + low) / 2.0)


class SACActor(_Scaled):
    """sac_continuous_action.py"""

    def __init__(self, observed: int, space: Any) -> None:
        super().__init__(observed, space)
        self.fc_mean = nn.Linear(16, len(space.low))
        self.fc_logstd = nn.Linear(16, len(space.low))

    def forward(self, x: torch.Tensor) -> Any:
        x = functional.relu(self.fc2(functional.relu(self.fc1(x))))
        log_std = torch.tanh(self.fc_logstd(x))
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (log_std + 1)
        return self.fc_mean(x), log_std

    def get_action(self, x: torch.Tensor) -> Any:
        mean, log_std = self(x)
        normal = Normal(mean, log_std.exp())
        y_t = torch.tanh(normal.rsample())
        mean = torch.tanh(mean) * self.action_scale + self.action_bias
        return y_t * self.action_scale + self.action_bias, mean


class TD3Actor(_Scaled):
    """td3_continuous_action.py, ddpg_continuous_action.py"""

    def __init__(self, observed: int, space: Any) -> None:
        super().__init__(observed, space)
        self.fc_mu = nn.Linear(16, len(space.low))

    def forward(self, x: torch.Tensor) -> Any:
        x = functional.relu(self.fc2(functional.relu(self.fc1(x))))
        return torch.tanh(self.fc_mu(x)) * self.action_scale + self.action_bias


def _mlp(observed: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(observed, 24), nn.Tanh(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, out))
    )
