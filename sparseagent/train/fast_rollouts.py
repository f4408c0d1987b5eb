"""Training rollouts by the compiled policy, for the on-policy algorithms of Stable-Baselines3.

With one environment `collect_rollouts` spends most of its time in `policy.forward`. `FastRollouts`
puts a plan in its place: action, log-probability and value in one call. Its weights are those of
the policy, copied after every update; what learns is torch, as before. The random numbers are the
plan's own, so a training is another one than without the callback, with the same distribution of
actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import nn

import sparseagent as sa
from sparseagent.csr import Float32
from sparseagent.ops import Layer
from sparseagent.policy import SparsePolicy

#: Numbers k * 2^-20 are distinct in float32 and small enough for any network up to this many.
_MOST_PARAMETERS = 1 << 24
_STEP = 2.0**-20


class FastRollouts(BaseCallback):
    """Collect the rollouts of PPO, A2C, TRPO or MaskablePPO with the compiled policy.

        model.learn(1_000_000, callback=[sparsifier.callback(), FastRollouts()])

    Dense agents gain as well: nothing of it depends on zeros. Masks may change meanwhile.

    Args:
        seed: of the plan's random numbers, at least 0; None for the model's seed, or 0.
        threads: threads of the plan, for many environments.

    Raises:
        TypeError: at the start of the training: the algorithm is off-policy, or its policy cannot
            be converted; the message names why.
    """

    def __init__(self, *, seed: int | None = None, threads: int = 1) -> None:
        super().__init__()
        self._seed = seed
        self._threads = threads
        self._copy: _Copy | None = None

    def _on_training_start(self) -> None:
        if not isinstance(self.model, OnPolicyAlgorithm):
            raise TypeError(
                "FastRollouts: expected an on-policy algorithm (PPO, A2C, TRPO, MaskablePPO), got "
                f"{type(self.model).__name__}, whose rollouts spend little time in the policy"
            )
        if self._copy is None or self._copy.model is not self.model:
            seed = self.model.seed or 0 if self._seed is None else self._seed
            self._copy = _Copy(self.model, seed, self._threads)
        self.model.policy.forward = self._copy.forward  # type: ignore[method-assign]

    def _on_rollout_start(self) -> None:
        assert self._copy is not None
        self._copy.refresh()

    def _on_training_end(self) -> None:
        del self.model.policy.forward

    def _on_step(self) -> bool:
        return True


class _Copy:
    """A plan with the weights of a model, and what `policy.forward` gives."""

    def __init__(self, model: OnPolicyAlgorithm, seed: int, threads: int) -> None:
        self.model = model
        self._parameters = list(model.policy.parameters())
        self._places = _Places(
            self._parameters, getattr(model.policy, "log_std", None), lambda: _dense(model)
        )
        plan = sa.compile(self._places.policy, threads=threads)
        self._sampler = sa.Sampler(plan, seed)
        self._versions = self._current()

    def refresh(self) -> None:
        """Bring the weights up to date."""
        self._sampler.plan.update(self._places.current())
        self._versions = self._current()

    def forward(
        self, obs: Any, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`ActorCriticPolicy.forward`: actions, values `[B, 1]`, log-probabilities `[B]`."""
        if self._versions != self._current():  # called outside of a rollout
            self.refresh()
        given = (
            {name: array.numpy() for name, array in obs.items()}
            if isinstance(obs, dict)
            else obs.numpy()
        )
        if deterministic:
            sample = self._sampler.plan.sample(given, deterministic=True, action_masks=action_masks)
        else:
            sample = self._sampler.sample(given, action_masks=action_masks)
        assert sample.value is not None
        return (
            torch.from_numpy(sample.raw_action),
            torch.from_numpy(sample.value.reshape(-1, 1)),
            torch.from_numpy(sample.log_prob),
        )

    def _current(self) -> list[int]:
        """Counts of the changes of each parameter."""
        return [parameter._version for parameter in self._parameters]


class _Places:
    """Where the numbers of a policy's layers stand among the parameters of its model.

    Every parameter is given a number of its own, and conversion shows where they go; numbers that
    come out alike both times are constants of the policy.

    Raises:
        TypeError: a number of the policy is computed from several parameters.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        log_std: nn.Parameter | None,
        convert: Callable[[], SparsePolicy],
    ) -> None:
        self._parameters = parameters
        count = sum(parameter.numel() for parameter in parameters)
        if count >= _MOST_PARAMETERS:
            raise TypeError(f"FastRollouts: expected fewer than 2^24 parameters, got {count}")
        self.policy = convert()
        self._log_std = log_std
        flat = _flat(parameters)
        try:
            _fill(parameters, np.arange(1, count + 1, dtype=np.float32) * np.float32(_STEP))
            marked = convert()
        finally:
            _fill(parameters, flat)
        self._constants = np.zeros(0, np.float32)
        self._places = [
            tuple(map(partial(self._find, flat), _numbers(real), _numbers(mark)))
            for real, mark in zip(self.policy.layers, marked.layers, strict=True)
        ]

    def current(self) -> SparsePolicy:
        """The policy with the parameters as they are now."""
        flat = np.concatenate([_flat(self._parameters), self._constants])
        values, biases = zip(*((flat[w], flat[b]) for w, b in self._places), strict=True)
        policy = self.policy.with_values(values, biases)
        if not isinstance(policy.head, sa.DiagGaussian):
            return policy
        assert self._log_std is not None
        return replace(policy, head=replace(policy.head, log_std=_flat([self._log_std])))

    def _find(self, flat: Float32, real: Float32, mark: Float32) -> npt.NDArray[np.int64]:
        """The places of some numbers, constants behind the parameters."""
        places: npt.NDArray[np.int64] = np.rint(mark / np.float32(_STEP)).astype(np.int64) - 1
        known = (places >= 0) & (places < flat.size)
        known &= flat[np.where(known, places, 0)].view(np.int32) == real.view(np.int32)
        constant = ~known & (real.view(np.int32) == mark.view(np.int32))
        if not (known | constant).all():
            raise TypeError(
                "FastRollouts: expected a policy whose layers are taken over as they are, got one "
                "with a layer that is folded into its neighbours"
            )
        places[constant] = flat.size + self._constants.size + np.arange(int(constant.sum()))
        self._constants = np.concatenate([self._constants, real[constant]])
        return places


def _dense(model: OnPolicyAlgorithm) -> SparsePolicy:
    """The policy with all entries of every layer, its value beside the action."""
    # With a mask for one layer the others have all entries, and nothing is removed.
    named = model.policy.named_parameters()
    name, array = next(n for n in named if n[0].endswith(".weight") and n[1].ndim == 2)
    policy = sa.from_sb3(
        model,
        vecnormalize=False,
        masks={name: np.ones(array.shape, np.bool_)},
        order="ascending",
        stochastic=True,
        value=True,
    )
    if isinstance(policy.head, sa.GSDE):
        raise TypeError("FastRollouts: expected a policy without gSDE (use_sde=False), got one")
    return replace(policy, metadata={}, golden=None)  # metadata is checked in every copy


def _numbers(layer: Layer) -> tuple[Float32, Float32]:
    weight = layer.weight.values if isinstance(layer.weight, sa.CSR) else layer.weight
    return weight, layer.bias


def _flat(parameters: Sequence[nn.Parameter]) -> Float32:
    with torch.no_grad():
        numbers: Float32 = torch.cat([array.reshape(-1) for array in parameters]).cpu().numpy()
    return numbers


def _fill(parameters: Sequence[nn.Parameter], numbers: Float32) -> None:
    start = 0
    with torch.no_grad():
        for array in parameters:
            part = torch.from_numpy(numbers[start : start + array.numel()])
            array.copy_(part.reshape(array.shape))
            start += array.numel()
