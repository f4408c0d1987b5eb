"""A cheap environment, small models of Stable-Baselines3, and a watch over their zeros."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback

from sparseagent.prune import Cubic, Magnitude, Sparsifier


class Drift(gym.Env):
    """Ten steps towards a goal: the cheapest environment with both kinds of actions."""

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)

    def __init__(self, discrete=False):
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2) if discrete else box

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._observe(), {}

    def step(self, action):
        self._steps += 1
        observation = self._observe()
        reward = float(observation[0]) * float(np.sum(action))
        return observation, reward, False, self._steps >= 10, {}

    def _observe(self):
        return self.np_random.uniform(-1.0, 1.0, 3).astype(np.float32)


def discrete():
    return Drift(discrete=True)


def small():
    # A new one for each model: the algorithms write into their policy_kwargs.
    return {"policy_kwargs": {"net_arch": [16, 16]}, "device": "cpu", "seed": 0}


def off():
    return {**small(), "buffer_size": 1000, "batch_size": 16, "learning_starts": 40}


def ppo(**options):
    defaults = {**small(), "n_steps": 32, "batch_size": 16, "n_epochs": 3}
    return PPO("MlpPolicy", Drift(), **{**defaults, **options})


def dqn(**options):
    defaults = {**off(), "train_freq": 4, "target_update_interval": 20}
    return DQN("MlpPolicy", discrete(), **{**defaults, **options})


def off_policy(algorithm, **options):
    return algorithm("MlpPolicy", Drift(), **{**off(), **options})


def sparsify(model, schedule=None, **options):
    schedule = schedule or Cubic(to=0.9)
    return Sparsifier(model.policy, score=Magnitude(), schedule=schedule, **options)


def kept(sparsifier, part):
    masks = sparsifier.masks
    return sum(int(masks[name].sum()) for name in sparsifier.parts[part])


def weights(sparsifier, part):
    masks = sparsifier.masks
    return sum(masks[name].numel() for name in sparsifier.parts[part])


class Watch(BaseCallback):
    """Checks the zeros of the policy, and of its targets, after every environment step."""

    def __init__(self, sparsifier, pairs=()):
        super().__init__()
        self.sparsifier = sparsifier
        self.pairs = pairs
        self.path = []

    def _on_step(self):
        state = self.model.policy.state_dict()
        for name, mask in self.sparsifier.masks.items():
            assert not state[name][~mask].any()
            for online, target in self.pairs:
                if name.startswith(f"{online}."):
                    twin = state[name.replace(online, target, 1)]
                    assert not twin[~mask].any()
                    assert twin[mask].any()
        self.path.append((self.num_timesteps, self.sparsifier.sparsity()))
        return True
