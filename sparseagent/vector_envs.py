"""Vector environments of several libraries, told apart and brought to gymnasium's form.

gymnasium, Stable-Baselines3 and EnvPool differ in how they reset, seed, declare their spaces and
hand out the last observation of an episode; those differences end here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from sparseagent.environments import import_gymnasium, name_of


class FromVecEnv:
    """A Stable-Baselines3 `VecEnv` with the methods of a gymnasium `VectorEnv`.

    Rewards are those of the environment, also below a `VecNormalize`; observations are as the
    `VecEnv` gives them.
    """

    metadata: Mapping[str, Any] = {"autoreset_mode": "SameStep"}

    def __init__(self, env: Any) -> None:
        self._env = env
        self.num_envs = int(env.num_envs)
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.unwrapped = env.unwrapped
        self._normalisers = [layer for layer in _layers(env) if hasattr(layer, "normalize_obs")]

        try:
            self.spec = env.get_attr("spec", [0])[0]
        except AttributeError:  # environments that gymnasium does not know
            self.spec = None

    @property
    def normalises(self) -> bool:
        """Whether its observations come normalised."""
        return any(layer.norm_obs for layer in self._normalisers)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep the statistics of normalisers as they are meanwhile."""
        training = [layer.training for layer in self._normalisers]
        try:
            for layer in self._normalisers:
                layer.training = False
            yield
        finally:
            for layer, was in zip(self._normalisers, training, strict=True):
                layer.training = was

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """The first observations `[num_envs, ...]`."""
        if seed is not None:
            self._env.seed(seed)
        return self._env.reset(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of all environments, as `gymnasium.vector.VectorEnv.step` with SameStep."""
        observation, rewards, over, infos = self._env.step(actions)
        for layer in self._normalisers:
            if layer.norm_reward:
                rewards = layer.get_original_reward()
        truncated = np.array([info.get("TimeLimit.truncated", False) for info in infos]) & over
        final = np.array([info.get("terminal_observation") for info in infos] + [None], object)
        return observation, rewards, over & ~truncated, truncated, {"final_obs": final[:-1]}


def as_vector_env(
    env: Any, env_kwargs: Mapping[str, Any], wrappers: Sequence[Callable[[Any], Any]] = ()
) -> Any:
    """A ready environment, checked to be one, in the form of a vector environment."""
    for name, given in (("env_kwargs", env_kwargs), ("wrappers", wrappers)):
        if given:
            raise ValueError(f"{name} needs an environment id, got the ready {name_of(env)}")
    if is_envpool(env):
        return env
    if hasattr(env, "step_async") and hasattr(env, "env_method"):
        return FromVecEnv(env)
    gymnasium = import_gymnasium()
    if isinstance(env, gymnasium.vector.VectorEnv):
        return env
    if isinstance(env, gymnasium.Env):
        disabled = gymnasium.vector.AutoresetMode.DISABLED
        return gymnasium.vector.SyncVectorEnv([lambda: env], autoreset_mode=disabled)
    raise TypeError(
        "env must be an environment id, a gymnasium Env or VectorEnv, a Stable-Baselines3 VecEnv "
        f"or an EnvPool environment of env_type 'gymnasium', got {type(env).__name__}"
    )


def is_envpool(env: Any) -> bool:
    """Whether `env` was made by EnvPool, whose classes share no base with gymnasium's."""
    return hasattr(env, "all_env_ids") and hasattr(type(env), "action_space")


def space_of(vec: Any, what: Literal["observation", "action"]) -> Any:
    """The space of one environment; EnvPool's spaces are not batched."""
    if not is_envpool(vec):
        return getattr(vec, f"single_{what}_space")
    with warnings.catch_warnings():
        # EnvPool declares float64 bounds for float32 spaces when they are first read.
        warnings.filterwarnings("ignore", message=".*precision lowered by casting.*")
        return getattr(vec, f"{what}_space")


def autoreset_mode(vec: Any) -> str:
    """The value of gymnasium's `AutoresetMode`: NextStep, SameStep or Disabled."""
    if is_envpool(vec):
        config = vec.config
        if config["batch_size"] not in (0, config["num_envs"]):
            raise ValueError(
                "env: EnvPool must step all its environments together, got "
                f"batch_size={config['batch_size']} of num_envs={config['num_envs']}"
            )
        return "NextStep"
    mode = vec.metadata.get("autoreset_mode")
    value = str(getattr(mode, "value", mode))
    if value not in ("NextStep", "SameStep", "Disabled"):
        raise ValueError(
            "env: metadata['autoreset_mode'] must be one of gymnasium's AutoresetMode (without it "
            f"episodes cannot be counted), got {mode!r}"
        )
    return value


def check_observations(act: Any, vec: Any) -> None:
    """Raise ValueError where a policy expects other observations than an environment gives."""
    expected = getattr(getattr(act, "observation_space", None), "shape", None)
    got = getattr(space_of(vec, "observation"), "shape", None)
    # Sorted: Stable-Baselines3 keeps images channels-first and transposes them itself.
    if expected is not None and got is not None and sorted(expected) != sorted(got):
        raise ValueError(
            f"act expects observations of shape {tuple(expected)}, "
            f"{name_of(vec)} gives {tuple(got)}"
        )
    inputs = getattr(getattr(act, "policy", None), "inputs", None)
    twice = isinstance(inputs, Mapping) and any(
        step.shift is not None and not step.categories for step in inputs.values()
    )
    if twice and getattr(vec, "normalises", False):
        raise ValueError(
            "env: expected observations as the environment gives them, for the policy normalises "
            "them itself, got a VecNormalize; hand in its `venv`, or a policy converted with "
            "vecnormalize=False"
        )


def _layers(env: Any) -> list[Any]:
    """A VecEnv and the ones that it wraps, outermost first."""
    found = []
    while env is not None:
        found.append(env)
        env = vars(env).get("venv")
    return found
