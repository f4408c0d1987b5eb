"""Acting: how an agent acts, in terms that hold for every library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sparseagent.agents.spaces import Space
from sparseagent.head import Head
from sparseagent.ops import Observation


@dataclass(frozen=True, eq=False)
class Acting:
    """What conversion needs of an agent.

    Attributes:
        algorithm: What the policy file calls it.
        network: From the features of an observation to what the action is made of: `forward` takes
            `x` `[B, in]`, the inputs of a Dict one behind the other in the order of its keys, and
            gives `{"action": [B, out]}`, logits or means; further outputs may follow, such as
            `"value"` `[B, 1]`. It is ready to be traced, and shares its weights with the agent.
        module: What holds the weights, named as in its `state_dict`.
        observation_space: What the network takes, or `None` where the agent does not know it.
        action_space: What the environment takes, or `None` likewise.
        head: From the outputs to the action.
        normalize_images: Whether uint8 images are divided by 255.
        normaliser: The library's own observation step, or `None`.
        normalised: Whether the agent remembers that it was trained with a normaliser that it does
            not hold; `None` where it does not say.
        kept: What `pruned.note_kept` wrote into the agent, if it did.
        facts: Metadata that only the library knows, such as the quirks that were followed.
    """

    algorithm: str
    network: nn.Module
    module: nn.Module
    observation_space: Space | None
    action_space: Space | None
    head: Head
    normalize_images: bool = False
    normaliser: Observation | None = None
    normalised: bool | None = None
    kept: Any = None
    facts: Mapping[str, Any] = field(default_factory=dict)
