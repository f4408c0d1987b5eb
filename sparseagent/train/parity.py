"""Does the compiled policy act like the model it came from? Checked on observations of the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt

from sparseagent.environments import register_environment
from sparseagent.head import Argmax
from sparseagent.policy import SparsePolicy

#: Largest distance that counts as the same: float32 sums in another order, on actions of size 1.
TOLERANCE = 1e-5


class _Acting(Protocol):
    def __call__(self, observations: Any, /) -> Any: ...

    def predict(self, observation: Any, /, *, deterministic: bool) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class Parity:
    """Outcome of a comparison.

    Attributes:
        observations: how many observations were compared.
        different: on how many the actions differ.
        largest: largest distance between two actions (continuous), or between the outputs of the
            two chosen actions (discrete), relative to the scale of the numbers.
    """

    observations: int
    different: int
    largest: float

    @property
    def holds(self) -> bool:
        """Whether no action differs."""
        return self.different == 0


def sample_observations(
    env_id: str, act: _Acting, count: int = 512, seed: int = 0
) -> npt.NDArray[Any]:
    """Observations `[count, *shape]` of an environment: every second action is a random one.

    Half by the policy, so that good states are seen; half at random, so that others are too.
    """
    register_environment(env_id)
    env = gymnasium.make(env_id)
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    seen = []
    for step in range(count):
        seen.append(np.array(observation))
        if step % 2:
            action = env.action_space.sample()
        else:
            action = act.predict(np.asarray(observation), deterministic=True)[0]
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()
    return np.stack(seen)


def check_parity(
    policy: SparsePolicy,
    act: _Acting,
    model: Any,
    statistics: Any,
    observations: npt.NDArray[Any],
) -> Parity:
    """Compare `act.predict` with the model's own deterministic `predict`, `[n, *shape]`.

    Discrete actions must be equal. Where they are not, and the outputs of the two actions lie
    within `TOLERANCE` of each other, it is a tie that rounding decides, and no difference.

    Args:
        policy: the policy that was compiled.
        act: the compiled policy.
        model: the Stable-Baselines3 model.
        statistics: its `VecNormalize`, or None.
        observations: as the environment hands them out.
    """
    ours = np.asarray(act.predict(observations, deterministic=True)[0])
    normalised = observations if statistics is None else statistics.normalize_obs(observations)
    theirs = np.asarray(model.predict(normalised, deterministic=True)[0])
    if ours.shape != theirs.shape:
        raise ValueError(f"act: expected actions of shape {theirs.shape}, got {ours.shape}")
    if isinstance(policy.head, Argmax):
        rows = observations.reshape(len(observations), -1)
        outputs = np.asarray(act(np.ascontiguousarray(rows, np.float32)))
        each = np.arange(len(outputs))
        gaps = np.abs(outputs[each, ours] - outputs[each, theirs])
        distances = gaps / np.maximum(1.0, np.abs(outputs).max(axis=1))
    else:
        scale = np.maximum(1.0, np.abs(theirs))
        distances = (np.abs(ours - theirs) / scale).reshape(len(ours), -1).max(axis=1)
    different = int((~(distances <= TOLERANCE)).sum())
    return Parity(len(ours), different, float(distances.max()))
