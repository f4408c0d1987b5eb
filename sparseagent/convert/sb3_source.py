"""What a Stable-Baselines3 agent says about itself, whether live or in its zip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.spaces import Space

#: The algorithms that can be converted, and the family that shares a network's structure.
FAMILIES: Mapping[str, str] = {
    "PPO": "on-policy",
    "A2C": "on-policy",
    "DQN": "q-network",
    "SAC": "sac",
    "TD3": "td3",
    "DDPG": "td3",
}


@dataclass(frozen=True, eq=False)
class Source:
    """An agent, read.

    Attributes:
        algorithm: one of `FAMILIES`.
        network: adds the network, from the flattened observation to the head, to a builder.
        squashed: whether the last activation is the tanh that the head stretches to the bounds.
        observation_space: what the network takes.
        action_space: what the environment takes.
        normalize_images: whether uint8 images are divided by 255.
        facts: metadata that only this source knows.
        normalised: whether the agent remembers that it was trained with a VecNormalize; None where
            it does not say.
    """

    algorithm: str
    network: Callable[[Builder, Value], Value]
    squashed: bool
    observation_space: Space
    action_space: Space
    normalize_images: bool
    facts: Mapping[str, Any]
    normalised: bool | None = None


def remembers_normaliser(family: str, timesteps: Any, original: Any) -> bool | None:
    """Whether an agent was trained with a VecNormalize; None where it does not say.

    When PPO and A2C start to learn, Stable-Baselines3 keeps the observation as it was before the
    VecNormalize, and none where there was no VecNormalize. The other algorithms keep one always.

    Args:
        family: one of the values of `FAMILIES`.
        timesteps: the agent's `num_timesteps`.
        original: its `_last_original_obs`, or whatever stands for one that is not None.
    """
    if family != "on-policy" or not isinstance(timesteps, int) or timesteps < 1:
        return None
    return original is not None
