"""A proximal L1 penalty on the actor's input layer, during a training of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sparseagent.distractors import parse_distraction
from sparseagent.prune import First
from sparseagent.prune.checks import require_strength
from sparseagent.prune.penalised import penalised_weights

#: By what is added to the observation, from trials with another implementation of PPO: for foreign
#: machines the best of .1, .2 and .5 on one seed, for noise the only one that was tried.
STRENGTHS: Mapping[str, float] = {"Noise": 0.5, "Foreign": 0.2}


def strength_of(env: str) -> float:
    """The strength for an environment; that of noise where nothing is added to it."""
    found = parse_distraction(env)
    return STRENGTHS["Noise" if found is None else found.kind]


class ProximalL1(BaseCallback):
    """Shrinks the weights that read the observation by learning rate x strength after each update.

    A weight that would change its sign becomes zero, until a gradient moves it again. Unlike the
    gradient of a penalty, this gives exact zeros, and no optimizer rescales it (Parikh and Boyd,
    "Proximal Algorithms", 2014).

    Args:
        strength: 0 or more.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        require_strength(strength)
        self._strength = strength
        self._hook: RemovableHandle | None = None

    def _on_training_start(self) -> None:
        policy = self.model.policy
        weights = [layer.weight for layer in penalised_weights(policy, First(1))]
        optimizer: Optimizer = getattr(policy, "actor", policy).optimizer

        @torch.no_grad()
        def shrink(optimizer: Optimizer, *_: object) -> None:
            step = optimizer.param_groups[0]["lr"] * self._strength
            for weight in weights:
                weight.copy_(weight.sign() * (weight.abs() - step).clamp_(min=0.0))

        self._hook = optimizer.register_step_post_hook(shrink)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if self._hook is not None:
            self._hook.remove()
