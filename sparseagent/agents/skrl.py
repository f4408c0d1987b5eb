"""skrl: models that users write, with a preprocessor beside them.

`RunningStandardScaler` is `clamp((x - mean) / (sqrt(var) + eps), -5, 5)` in float32; it belongs to
the agent, so a model alone does not know it. Evaluation plays the means, which `clip_actions` does
not clip; `clip_mean_actions` does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import Agent, Roles, comes_from, derives, refuse_unready
from sparseagent.agents.spaces import BoxSpace, MultiDiscreteSpace, Space, read_space
from sparseagent.distributions import Categorical, DiagGaussian, MultiCategorical
from sparseagent.head import Argmax, Head, Raw, clip_to
from sparseagent.ops import Observation
from sparseagent.unsupported import UnsupportedError

_MODEL = "skrl.models.torch.base.Model"
_MIXINS = {
    "gaussian": "skrl.models.torch.gaussian.GaussianMixin",
    "multivariate_gaussian": "skrl.models.torch.multivariate_gaussian.MultivariateGaussianMixin",
    "deterministic": "skrl.models.torch.deterministic.DeterministicMixin",
    "categorical": "skrl.models.torch.categorical.CategoricalMixin",
    "multicategorical": "skrl.models.torch.multicategorical.MultiCategoricalMixin",
}


def adapt(thing: object) -> Agent | None:
    """An agent with its policy, or a model that acts."""
    if not comes_from(thing, "skrl"):
        return None
    model = thing if isinstance(thing, nn.Module) else getattr(thing, "policy", None)
    if not isinstance(model, nn.Module) or not derives(model, _MODEL):
        return None
    return Skrl(model, None if thing is model else thing)


class Way(nn.Module):
    """From preprocessed features to what the policy's `compute` gives."""

    def __init__(self, policy: nn.Module, space: Space, kind: str, *, stochastic: bool) -> None:
        super().__init__()
        self.policy: Any = policy
        self.space = space
        self.kind = kind
        self.stochastic = stochastic

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to means or logits, and log_std where it is asked for."""
        given = {"observations": x, "states": x}
        found, extra = self.policy.compute(given, role="policy")
        outputs = {"action": found}
        if self.stochastic and self.kind == "gaussian" and _fixed_log_std(self.policy) is None:
            outputs["log_std"] = extra["log_std"]
        return outputs


class Skrl(Agent):
    """A policy, and the agent that it belongs to."""

    library = "skrl"

    def roles(self) -> Roles:
        """All modules that hold weights, by what they do."""
        value = getattr(self.model, "value", None)
        separate = isinstance(value, nn.Module) and value is not self.module
        return Roles("actor", (self.module,), (value,) if separate else ())  # type: ignore[arg-type]

    def acting(
        self,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        stochastic: bool = False,
        value: bool = False,
    ) -> Acting:
        """How it acts: for conversion."""
        policy: Any = self.module
        refuse_unready(type(policy).__name__, policy)
        if value:
            raise ValueError("value: expected False for skrl; convert the value model on its own")
        kind = next((name for name, path in _MIXINS.items() if derives(policy, path)), "")
        if not kind:
            raise UnsupportedError(
                f"module 'policy' ({type(policy).__name__}): expected one with the mixin Gaussian, "
                "MultivariateGaussian, Deterministic, Categorical or MultiCategorical"
            )
        observed, space = (
            read_space(name, getattr(policy, name) if given is None else given)
            for name, given in (
                ("observation_space", observation_space),
                ("action_space", action_space),
            )
        )
        facts = {}
        if kind == "gaussian" and policy._g_clip_actions and not policy._g_clip_mean_actions:
            facts["quirks"] = ["means are not clipped: clip_actions clips samples alone"]
        return Acting(
            type(self.model).__name__ if self.model is not None else type(policy).__name__,
            Way(policy, observed, kind, stochastic=stochastic),
            policy,
            observed,
            space,
            self._head(kind, space, stochastic=stochastic),
            normaliser=None if self.model is None else _normaliser(self.model, observed),
            normalised=None if self.model is None else False,
            facts=facts,
        )

    def _head(self, kind: str, space: Space, *, stochastic: bool) -> Head:
        policy: Any = self.module
        if kind == "categorical":
            return Categorical() if stochastic else Argmax()
        if kind == "multicategorical" and isinstance(space, MultiDiscreteSpace):
            return MultiCategorical(space.sizes)
        bounds: Any = Raw()
        if kind == "deterministic":
            if stochastic:
                raise ValueError("stochastic: expected False for a deterministic model")
            if policy._d_clip_actions and isinstance(space, BoxSpace):
                return clip_to(space.low, space.high)
            return Raw()
        clipped = kind == "gaussian" and policy._g_clip_mean_actions
        if not stochastic:
            bounded = clipped and isinstance(space, BoxSpace)
            return clip_to(space.low, space.high) if bounded else Raw()  # type: ignore[union-attr]
        if clipped:
            raise UnsupportedError(
                "stochastic: expected a model without clip_mean_actions, which clips before it "
                "samples"
            )
        if kind != "gaussian":
            raise UnsupportedError(f"stochastic: expected False for a {kind} model")
        if policy._g_clip_actions and isinstance(space, BoxSpace):
            bounds = clip_to(space.low, space.high)
        limits = (policy._g_min_log_std, policy._g_max_log_std) if policy._g_clip_log_std else None
        return DiagGaussian(_fixed_log_std(policy), limits, bounds=bounds)


def _fixed_log_std(policy: Any) -> Any:
    """A log_std that is a parameter; None where the network computes it."""
    own = [
        p for name, p in policy.named_parameters() if name.rpartition(".")[2].startswith("log_std")
    ]
    return own[0].detach().float().cpu().numpy().ravel().copy() if own else None


def _normaliser(agent: Any, space: Space) -> Observation | None:
    found = getattr(agent, "_observation_preprocessor", None)
    if not isinstance(found, nn.Module):
        return None
    norm: Any = found
    if type(norm).__name__ != "RunningStandardScaler" or not isinstance(space, BoxSpace):
        raise UnsupportedError(
            f"observation_preprocessor: expected RunningStandardScaler of a Box, got "
            f"{type(norm).__name__} of {space}"
        )
    mean = norm.running_mean.float().cpu().numpy()
    scale = (torch.sqrt(norm.running_variance.float()) + norm.epsilon).cpu().numpy()
    clip = float(norm.clip_threshold)
    return Observation(
        space.shape, space.dtype, mean.ravel(), scale.ravel(), -clip, clip, "float32"
    )
