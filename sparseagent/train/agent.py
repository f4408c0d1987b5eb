"""Stable-Baselines3 models and environments from a `RunConfig`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import gymnasium
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sparseagent.agents import optimizers_of
from sparseagent.environments import register_environment
from sparseagent.prune import Magnitude, OneShot, Sparsifier
from sparseagent.train.config import RunConfig
from sparseagent.train.falling import FALLING, is_falling, parse_falling

_CLASSES: Mapping[str, type[BaseAlgorithm]] = {
    "ppo": sb3.PPO,
    "a2c": sb3.A2C,
    "dqn": sb3.DQN,
    "sac": sb3.SAC,
    "td3": sb3.TD3,
    "ddpg": sb3.DDPG,
}
_ACTIVATIONS: Mapping[str, type[torch.nn.Module]] = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "elu": torch.nn.ELU,
    "leaky_relu": torch.nn.LeakyReLU,
    "sigmoid": torch.nn.Sigmoid,
    "silu": torch.nn.SiLU,
    "gelu": torch.nn.GELU,
}
_BUFFER_SIZE = 1_000_000  # the library's default
_POLICY_KEYS: Mapping[str, type] = {
    "log_std_init": float,
    "ortho_init": bool,
    "clip_mean": float,
    "n_critics": int,
    "full_std": bool,
    "use_expln": bool,
}
_NOISE_KEYS: Mapping[str, type] = {"noise_type": str, "noise_std": float}
#: Arguments of the algorithms that other fields of `RunConfig` decide.
_OWN_KEYS = {
    *("self", "policy", "env", "policy_kwargs", "seed", "device", "verbose", "action_noise"),
    *("_init_setup_model", "tensorboard_log", "stats_window_size"),
}


def algorithm(name: str) -> type[BaseAlgorithm]:
    """The Stable-Baselines3 class of an algorithm named as in `RunConfig.algo`."""
    return _CLASSES[name]


def check_environment(config: RunConfig) -> None:
    """Raise `ValueError` if the environment does not exist or does not suit the algorithm.

    Also checks the names of the hyperparameters, so that a typing error shows before the training.
    """
    register_environment(config.env)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*Using the latest versioned environment")
            env = gymnasium.make(config.env)
    except gymnasium.error.Error as error:
        raise ValueError(
            f"env: expected a Gymnasium id that can be made here, got {config.env!r}: {error}"
        ) from error
    observations, actions = env.observation_space, env.action_space
    env.close()
    if env.spec is not None and env.spec.id != config.env.rpartition(":")[2]:
        # gymnasium takes the newest version; a run that says nothing could not be repeated.
        raise ValueError(
            f"env: expected an id with its version, such as {env.spec.id!r}, got {config.env!r}"
        )
    if not isinstance(observations, gymnasium.spaces.Box):
        raise ValueError(f"env: expected observations in a Box, got {observations} ({config.env})")
    discrete = isinstance(actions, gymnasium.spaces.Discrete)
    box = isinstance(actions, gymnasium.spaces.Box)
    fits = {"dqn": discrete, "ppo": discrete or box, "a2c": discrete or box}.get(config.algo, box)
    if not fits:
        raise ValueError(
            f"algo: expected one that can act in {actions} ({config.env}), got {config.algo!r}"
        )
    _check_hyperparameters(config)


def make_envs(config: RunConfig, seed: int, statistics: Path | None = None) -> VecEnv:
    """Training environments in this process, monitored, normalised where the run says so.

    Args:
        config: the run.
        seed: seed of the first environment; the others count on from it.
        statistics: saved `VecNormalize` statistics to go on with.
    """
    register_environment(config.env)
    # Given an id, Stable-Baselines3 asks for images: LunarLander then simulates the sparks of its
    # engines, which takes ten times as long.
    make = partial(gymnasium.make, config.env)
    env: VecEnv = make_vec_env(make, n_envs=config.n_envs, seed=seed)
    if not config.normalize:
        return env
    if statistics is not None:
        return VecNormalize.load(str(statistics), env)
    gamma = float(config.hyperparameters.get("gamma", 0.99))
    return VecNormalize(env, gamma=gamma)


def make_model(
    config: RunConfig,
    env: VecEnv,
    seed: int,
    actor: Sequence[int] | None = None,
    timesteps: int | None = None,
) -> BaseAlgorithm:
    """A fresh model.

    Args:
        config: the run.
        env: what it trains in.
        seed: of its weights and its exploration.
        actor: hidden widths of the actor instead of the run's, none for a linear one; the critic
            keeps its own.
        timesteps: environment steps of its training; None for the run's. `"hold_x"` falls from the
            step at which pruning stops.
    """
    given = dict(config.hyperparameters)
    policy_kwargs = {key: given.pop(key) for key in _POLICY_KEYS if key in given}
    policy_kwargs["net_arch"] = _net_arch(config, config.net_arch if actor is None else actor)
    if config.activation is not None:
        policy_kwargs["activation_fn"] = _ACTIVATIONS[config.activation]
    if not config.on_policy:
        # A buffer that holds the whole training is as good as a larger one, and quicker to save.
        whole = config.pruned_timesteps + config.n_envs
        given["buffer_size"] = min(given.get("buffer_size", _BUFFER_SIZE), whole)
    noise = _action_noise(given, env)
    until = config.ramp_steps[1] / (timesteps or config.total_timesteps)
    arguments = {key: _argument(key, value, until) for key, value in given.items()}
    if noise is not None:
        arguments["action_noise"] = noise
    model = algorithm(config.algo)(
        "MlpPolicy", env, policy_kwargs=policy_kwargs, seed=seed, device="cpu", **arguments
    )
    # Set here, because `optimizer_kwargs` would replace what the algorithm gives its optimizer.
    for optimizer in optimizers_of(model.policy):
        for group in optimizer.param_groups:
            group["weight_decay"] = config.weight_decay
    return model


def fresh_policy(config: RunConfig) -> BasePolicy:
    """An untrained policy of the run, to see what can be done with it."""
    env = make_envs(config, config.seeds[0])
    policy = make_model(config, env, config.seeds[0]).policy
    env.close()
    return policy


def actor_weights(policy: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    """The weights `[out, in]` that a deterministic action goes through, first layer first."""
    probe = Sparsifier(policy, score=Magnitude(), schedule=OneShot(to=0.0), critic_sparsity=None)
    (names,) = probe.parts.values()
    return tuple(policy.get_parameter(name).detach() for name in names)


def network_name(weights: Sequence[torch.Tensor]) -> str:
    """Widths of a chain of layers, such as `"4-64-64-2"`."""
    return "-".join(str(n) for n in (weights[0].shape[1], *(w.shape[0] for w in weights)))


def _net_arch(config: RunConfig, actor: Sequence[int]) -> Any:
    if config.algo == "dqn":
        return list(actor)
    critic = "vf" if config.on_policy else "qf"
    return {"pi": list(actor), critic: list(config.net_arch)}


def _argument(key: str, value: Any, until: float) -> Any:
    if is_falling(value):
        return parse_falling(key, value, until)
    return tuple(value) if isinstance(value, list) else value


def _action_noise(given: dict[str, Any], env: VecEnv) -> NormalActionNoise | None:
    kind, std = (given.pop(key, None) for key in _NOISE_KEYS)
    if kind is None:
        return None
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    shape = env.action_space.shape
    return NormalActionNoise(np.zeros(shape), np.full(shape, float(std or 0.0)))


def _check_hyperparameters(config: RunConfig) -> None:
    given = config.hyperparameters
    parameters = inspect.signature(algorithm(config.algo)).parameters
    known = {key: p.annotation for key, p in parameters.items() if key not in _OWN_KEYS}
    known.update(_POLICY_KEYS)
    if not config.on_policy and config.algo != "dqn":
        known.update(_NOISE_KEYS)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"hyperparameters: expected names among {', '.join(sorted(known))}; "
            f"got {', '.join(unknown)}"
        )
    for key, value in given.items():
        _check_type(key, value, known[key])
    if given.get("noise_type", "normal") != "normal":
        raise ValueError(f"noise_type: expected 'normal', got {given['noise_type']!r}")
    if len(noise := [key for key in _NOISE_KEYS if key in given]) == 1:
        raise ValueError(f"noise_type, noise_std: expected both or none, got {noise[0]} alone")
    if config.learning_starts >= config.total_timesteps:
        raise ValueError(
            f"total_timesteps: expected more than learning_starts = {config.learning_starts}, "
            f"got {config.total_timesteps}"
        )


def _check_type(key: str, value: Any, annotation: Any) -> None:
    """Refuse a hyperparameter of another type than its algorithm asks for."""
    if not _fits(value, annotation):
        expected = inspect.formatannotation(annotation)
        expected = expected.replace("collections.abc.Callable[[float], float]", FALLING)
        raise TypeError(f"{key}: expected {expected}, got {value!r}")
    if is_falling(value):
        parse_falling(key, value, until=1.0)


def _fits(value: Any, annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    if kind in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(annotation))
    if kind is Callable:  # a schedule
        return callable(value) or is_falling(value)
    if isinstance(value, bool):
        return kind is bool
    # What comes from JSON has lists for tuples.
    return isinstance(value, {float: (int, float), tuple: (list, tuple)}.get(kind, kind))
