"""The heads of Stable-Baselines3's policies: the deterministic action, and the distributions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparseagent.agents.spaces import (
    BoxSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
)
from sparseagent.csr import Float32
from sparseagent.distributions import (
    GSDE,
    Bernoulli,
    Categorical,
    DiagGaussian,
    EpsilonGreedy,
    MultiCategorical,
)
from sparseagent.head import Argmax, Head, clip_to, unscale_to
from sparseagent.unsupported import UnsupportedError

#: SAC's bounds of log_std.
_LOG_STD_RANGE = (-20.0, 2.0)


def mode(policy: Any, kind: str, space: Space) -> Head:
    """The head of the deterministic action."""
    if isinstance(space, DiscreteSpace):
        return Argmax()
    if isinstance(space, MultiDiscreteSpace):
        return MultiCategorical(space.sizes)
    if isinstance(space, MultiBinarySpace):
        # MaskablePPO has two logits for each bit.
        return MultiCategorical((2,) * space.size) if kind == "maskable" else Bernoulli()
    low, high = _bounds(space)
    return unscale_to(low, high) if policy.squash_output else clip_to(low, high)


def distribution(policy: Any, kind: str, space: Space, *, epsilon: float, resample: int) -> Head:
    """The head that samples as the policy does in training.

    Args:
        policy: The policy.
        kind: One of `KINDS`.
        space: Of the action.
        epsilon: Exploration of DQN.
        resample: Steps for which gSDE's noise matrix holds; 0 for ever.
    """
    if kind in ("td3", "ars"):
        raise ValueError(
            "stochastic: expected False for TD3, DDPG and ARS, whose policies know no distribution"
        )
    if kind in ("q-network", "quantile"):
        return EpsilonGreedy(epsilon)
    if isinstance(space, DiscreteSpace):
        return Categorical()
    if not isinstance(space, BoxSpace):
        return mode(policy, kind, space)
    owner = policy.actor if hasattr(policy, "actor") else policy
    bounds: Any = mode(policy, kind, space)
    squash = bool(policy.squash_output)
    if owner.use_sde:
        return GSDE(_noise(owner, space.size), resample, bounds=bounds, squash=squash)
    if owner is not policy:
        return DiagGaussian(None, _LOG_STD_RANGE, bounds=bounds, squash=True)
    return DiagGaussian(_array(policy.log_std), bounds=bounds)


def _noise(owner: Any, actions: int) -> Float32:
    """The standard deviations of gSDE's matrix, `[latent, out]`."""
    log_std, dist = owner.log_std.detach(), owner.action_dist
    if dist.use_expln:  # exp below 0, log1p above it (Raffin et al., 2021)
        low = torch.exp(log_std) * (log_std <= 0)
        safe = log_std * (log_std > 0) + dist.epsilon
        std = low + (torch.log1p(safe) + 1.0) * (log_std > 0)
    else:
        std = torch.exp(log_std)
    return _array(std.expand(-1, actions))


def _array(tensor: Tensor) -> Float32:
    array: Float32 = tensor.detach().float().cpu().contiguous().numpy().copy()
    return array


def _bounds(space: Space) -> tuple[Any, Any]:
    if not isinstance(space, BoxSpace):
        raise UnsupportedError(f"action_space: expected no Dict, got {space}")
    if space.dtype != "float32":
        raise UnsupportedError(
            f"action_space: expected float32 actions, got {space}; pass action_space= with a "
            f"float32 Box to state that the environment takes those"
        )
    return space.low, space.high


def starts(space: DiscreteSpace | MultiDiscreteSpace) -> bool:
    """Whether an action of the space does not count from 0."""
    return bool(space.start) if isinstance(space, DiscreteSpace) else any(space.starts)
