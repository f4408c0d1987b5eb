"""A penalty during a training of Stable-Baselines3."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback
from torch.utils.hooks import RemovableHandle

from sparseagent.prune import Penalty, penalise


class Penalised(BaseCallback):
    """Adds a penalty to the actor's loss for the time of `model.learn`.

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
