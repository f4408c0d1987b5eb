"""rsl_rl (Isaac Lab, legged robots): models with an empirical normaliser of their own.

The normaliser is `(x - mean) / (std + eps)` in float32, without a clip. Observation groups come in
as one row, in the order of the model's `obs_groups`. Actions are means as the network gives them:
clips and scales belong to the environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import Agent, Roles, comes_from, refuse_unready
from sparseagent.agents.spaces import BoxSpace, Space, read_space
from sparseagent.distributions import DiagGaussian
from sparseagent.head import Head, Raw
from sparseagent.ops import Observation
from sparseagent.unsupported import UnsupportedError

_PLAIN = ("GaussianDistribution", "HeteroscedasticGaussianDistribution")


def adapt(thing: object) -> Agent | None:
    """A runner, an algorithm, or a model that acts."""
    if not comes_from(thing, "rsl_rl"):
        return None
    holder = getattr(thing, "alg", thing)
    actor = thing if isinstance(thing, nn.Module) else getattr(holder, "actor", None)
    known = isinstance(actor, nn.Module) and isinstance(getattr(actor, "mlp", None), nn.Module)
    return RslRl(actor, None if thing is actor else thing) if known else None  # type: ignore[arg-type]


class Way(nn.Module):
    """From normalised features to means, and to the log of the deviations where it is computed."""

    def __init__(self, policy: nn.Module, *, actions: int, stochastic: bool) -> None:
        super().__init__()
        self.policy: Any = policy
        self.actions = actions
        self.stochastic = stochastic
        # A head of two rows is cut here, so that its last step need not be followed.
        mlp: Any = self.policy.mlp
        layers = [part for part in mlp if not isinstance(part, nn.Unflatten)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to means `[B, out]`."""
        y = self.layers(x)
        outputs = {"action": y[:, : self.actions]}
        if self.stochastic and y.shape[1] > self.actions:
            outputs["log_std"] = y[:, self.actions :]
        return outputs


class RslRl(Agent):
    """A model that acts."""

    library = "rsl-rl"

    def roles(self) -> Roles:
        """All modules that hold weights, by what they do; the critic is a model of its own."""
        return Roles("actor", (self.module.get_submodule("mlp"),))

    def acting(
        self,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        stochastic: bool = False,
        value: bool = False,
    ) -> Acting:
        """How it acts: for conversion."""
        model: Any = self.module
        refuse_unready(type(model).__name__, model)
        if value:
            raise ValueError(
                "value: expected False for rsl_rl, whose critic observes and normalises by itself; "
                "convert it on its own"
            )
        distribution = model.distribution
        kind = type(distribution).__name__
        if distribution is not None and kind not in _PLAIN:
            raise UnsupportedError(f"module 'distribution' ({kind}): expected {_PLAIN[0]}, or none")
        outputs = [part for part in model.mlp if isinstance(part, nn.Linear)][-1].out_features
        actions = outputs if distribution is None else int(distribution.output_dim)
        space: Space = BoxSpace(*(np.full(int(model.obs_dim), b, np.float32) for b in _UNBOUNDED))
        if observation_space is not None:
            space = read_space("observation_space", observation_space)
        return Acting(
            "PPO",
            Way(model, actions=actions, stochastic=stochastic),
            model,
            space,
            None if action_space is None else read_space("action_space", action_space),
            _distribution(distribution) if stochastic else Raw(),
            normaliser=_normaliser(model),
            normalised=False,
            facts={"observation_groups": list(model.obs_groups)},
        )


_UNBOUNDED = (-np.inf, np.inf)


def _normaliser(model: Any) -> Observation | None:
    norm = model.obs_normalizer
    if type(norm) is nn.Identity:
        return None
    if type(norm).__name__ != "EmpiricalNormalization":
        raise UnsupportedError(
            f"module 'obs_normalizer' ({type(norm).__name__}): expected EmpiricalNormalization"
        )
    mean = norm._mean.detach().cpu().numpy().ravel()
    scale = (norm._std + norm.eps).detach().cpu().numpy().ravel()  # rounded to float32, as there
    return Observation((mean.size,), "float32", mean, scale, precision="float32")


def _distribution(distribution: Any) -> Head:
    if distribution is None:
        raise ValueError("stochastic: expected False for a model without a distribution")
    low, high = distribution.log_std_range
    if type(distribution).__name__ == "GaussianDistribution":
        if distribution.std_type == "scalar":
            std = distribution.std_param.detach().clamp(*distribution.std_range)
            log_std = torch.log(std)
        else:
            log_std = distribution.log_std_param.detach().clamp(low, high)
        return DiagGaussian(log_std.float().cpu().numpy().copy())
    if distribution.std_type == "scalar":
        raise UnsupportedError(
            "stochastic: expected a distribution that computes the logarithm of its deviations "
            "(std_type 'log'), got 'scalar'"
        )
    return DiagGaussian(None, (low, high))
