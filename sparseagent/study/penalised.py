"""A penalty during a training of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping

from stable_baselines3.common.callbacks import BaseCallback
from torch.utils.hooks import RemovableHandle

from sparseagent.distractors import parse_distraction
from sparseagent.prune import Penalty, penalise

#: Strength of L1 on the inputs by what is added to the observation, from trials with another
#: implementation of PPO: for foreign machines the best of .1, .2 and .5 on one seed, for noise the
#: only one that was tried.
L1_STRENGTHS: Mapping[str, float] = {"Noise": 0.5, "Foreign": 0.2}


def l1_strength(env: str) -> float:
    """The strength for an environment; that of noise where nothing is added to it."""
    found = parse_distraction(env)
    return L1_STRENGTHS["Noise" if found is None else found.kind]


class Penalised(BaseCallback):
    """Puts a penalty on the actor for the time of `model.learn`.

    Args:
        penalty: such as `ContributionPenalty(1e-3)`.
    """

    def __init__(self, penalty: Penalty) -> None:
        super().__init__()
        self._penalty = penalty
        self._hook: RemovableHandle | None = None

    def _on_training_start(self) -> None:
        self._hook = penalise(self.model, self._penalty)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if self._hook is not None:
            self._hook.remove()
