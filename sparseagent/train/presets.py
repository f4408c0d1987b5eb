"""Tuned hyperparameters for well-known environments, and the algorithms' own defaults otherwise.

The values follow the tuned hyperparameters of RL Baselines3 Zoo (Raffin, 2020). `"lin_x"` is a
value that starts at x and falls linearly to 0 at the end of the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparseagent.environments import base_environment
from sparseagent.train.choices import ALGORITHMS


@dataclass(frozen=True)
class Preset:
    """What a preset decides of a `RunConfig`; the fields have the same names and meaning."""

    total_timesteps: int = 1_000_000
    n_envs: int = 1
    net_arch: tuple[int, ...] = (64, 64)
    activation: str | None = None
    normalize: bool = False
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


#: Stable-Baselines3's own defaults, for environments without a tuned preset.
DEFAULTS: Mapping[str, Preset] = {
    "ppo": Preset(),
    "a2c": Preset(),
    "dqn": Preset(total_timesteps=100_000),
    "sac": Preset(net_arch=(256, 256)),
    "td3": Preset(net_arch=(400, 300), hyperparameters={"noise_type": "normal", "noise_std": 0.1}),
    "ddpg": Preset(net_arch=(400, 300), hyperparameters={"noise_type": "normal", "noise_std": 0.1}),
}

_DQN_SHORT = Preset(
    total_timesteps=100_000,
    net_arch=(256, 256),
    hyperparameters={
        "learning_rate": 6.3e-4,
        "batch_size": 128,
        "buffer_size": 50_000,
        "learning_starts": 0,
        "gamma": 0.99,
        "target_update_interval": 250,
        "train_freq": 4,
        "gradient_steps": -1,
        "exploration_fraction": 0.12,
        "exploration_final_eps": 0.1,
    },
)
_SAC_MUJOCO = Preset(net_arch=(256, 256), hyperparameters={"learning_starts": 10_000})
_TD3_MUJOCO = Preset(
    net_arch=(400, 300),
    hyperparameters={
        "learning_rate": 1e-3,
        "learning_starts": 10_000,
        "train_freq": 1,
        "gradient_steps": 1,
        "noise_type": "normal",
        "noise_std": 0.1,
    },
)

#: Tuned presets by algorithm and environment id.
PRESETS: Mapping[tuple[str, str], Preset] = {
    ("ppo", "CartPole-v1"): Preset(
        total_timesteps=100_000,
        n_envs=8,
        hyperparameters={
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": "lin_0.001",
            "clip_range": "lin_0.2",
        },
    ),
    ("a2c", "CartPole-v1"): Preset(
        total_timesteps=500_000, n_envs=8, hyperparameters={"ent_coef": 0.0}
    ),
    ("dqn", "CartPole-v1"): Preset(
        total_timesteps=50_000,
        net_arch=(256, 256),
        hyperparameters={
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1000,
            "gamma": 0.99,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
        },
    ),
    ("ppo", "Acrobot-v1"): Preset(
        n_envs=16,
        normalize=True,
        hyperparameters={
            "n_steps": 256,
            "gae_lambda": 0.94,
            "gamma": 0.99,
            "n_epochs": 4,
            "ent_coef": 0.0,
        },
    ),
    ("dqn", "Acrobot-v1"): _DQN_SHORT,
    ("dqn", "LunarLander-v3"): _DQN_SHORT,
    ("ppo", "LunarLander-v3"): Preset(
        n_envs=16,
        hyperparameters={
            "n_steps": 1024,
            "batch_size": 64,
            "gae_lambda": 0.98,
            "gamma": 0.999,
            "n_epochs": 4,
            "ent_coef": 0.01,
        },
    ),
    ("sac", "Pendulum-v1"): Preset(
        total_timesteps=20_000, net_arch=(256, 256), hyperparameters={"learning_rate": 1e-3}
    ),
    ("td3", "Pendulum-v1"): Preset(
        total_timesteps=20_000,
        net_arch=(400, 300),
        hyperparameters={
            "gamma": 0.98,
            "buffer_size": 200_000,
            "learning_starts": 10_000,
            "noise_type": "normal",
            "noise_std": 0.1,
            "gradient_steps": 1,
            "train_freq": 1,
            "learning_rate": 1e-3,
        },
    ),
    ("ppo", "Pendulum-v1"): Preset(
        total_timesteps=100_000,
        n_envs=4,
        hyperparameters={
            "n_steps": 1024,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "n_epochs": 10,
            "ent_coef": 0.0,
            "learning_rate": 1e-3,
            "clip_range": 0.2,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
    ),
    # The zoo's value for SAC clips the mean of the action at +-2 before the tanh (gSDE). That clip
    # is no layer of the deployed policy, so it is off here; the tanh bounds the action anyway.
    ("sac", "MountainCarContinuous-v0"): Preset(
        total_timesteps=50_000,
        hyperparameters={
            "learning_rate": 3e-4,
            "buffer_size": 50_000,
            "batch_size": 512,
            "ent_coef": 0.1,
            "train_freq": 32,
            "gradient_steps": 32,
            "gamma": 0.9999,
            "tau": 0.01,
            "learning_starts": 0,
            "use_sde": True,
            "log_std_init": -3.67,
            "clip_mean": 0.0,
        },
    ),
    ("ppo", "MountainCarContinuous-v0"): Preset(
        total_timesteps=20_000,
        normalize=True,
        hyperparameters={
            "n_steps": 8,
            "batch_size": 8,
            "gae_lambda": 0.9,
            "gamma": 0.9999,
            "n_epochs": 10,
            "ent_coef": 0.00429,
            "learning_rate": 7.77e-5,
            "clip_range": 0.1,
            "max_grad_norm": 5,
            "vf_coef": 0.19,
            "use_sde": True,
            "log_std_init": -3.29,
            "ortho_init": False,
        },
    ),
    ("sac", "HalfCheetah-v5"): _SAC_MUJOCO,
    ("sac", "Hopper-v5"): _SAC_MUJOCO,
    ("td3", "HalfCheetah-v5"): _TD3_MUJOCO,
    ("td3", "Hopper-v5"): _TD3_MUJOCO,
    ("ppo", "HalfCheetah-v5"): Preset(
        net_arch=(256, 256),
        activation="relu",
        normalize=True,
        hyperparameters={
            "n_steps": 512,
            "batch_size": 64,
            "gamma": 0.98,
            "learning_rate": 2.0633e-05,
            "ent_coef": 0.000401762,
            "clip_range": 0.1,
            "n_epochs": 20,
            "gae_lambda": 0.92,
            "max_grad_norm": 0.8,
            "vf_coef": 0.58096,
            "log_std_init": -2.0,
            "ortho_init": False,
        },
    ),
    ("ppo", "Hopper-v5"): Preset(
        net_arch=(256, 256),
        activation="relu",
        normalize=True,
        hyperparameters={
            "n_steps": 512,
            "batch_size": 32,
            "gamma": 0.999,
            "learning_rate": 9.80828e-05,
            "ent_coef": 0.00229519,
            "clip_range": 0.2,
            "n_epochs": 5,
            "gae_lambda": 0.99,
            "max_grad_norm": 0.7,
            "vf_coef": 0.835671,
            "log_std_init": -2.0,
            "ortho_init": False,
        },
    ),
}


def preset(env: str, algo: str) -> Preset:
    """The tuned preset of an algorithm on an environment, or the algorithm's defaults.

    An environment with added features has the preset of the one inside, see `distractors`.

    Raises:
        ValueError: an unknown algorithm.
    """
    if algo not in ALGORITHMS:
        raise ValueError(f"algo: expected one of {', '.join(ALGORITHMS)}, got {algo!r}")
    return PRESETS.get((algo, base_environment(env)), DEFAULTS[algo])
