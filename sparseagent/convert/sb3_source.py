"""What a Stable-Baselines3 agent says about itself, whether live or in its zip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparseagent.convert.chain import Chain
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
        chain: the network from the flattened observation to the head.
        squashed: whether the last activation is the tanh that the head stretches to the bounds.
        observation_space: what the network takes.
        action_space: what the environment takes.
        normalize_images: whether uint8 images are divided by 255.
        facts: metadata that only this source knows.
    """

    algorithm: str
    chain: Chain
    squashed: bool
    observation_space: Space
    action_space: Space
    normalize_images: bool
    facts: Mapping[str, Any]
