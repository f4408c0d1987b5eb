"""rl_games: actor-critic models with a normaliser inside.

The normaliser is `clamp((x - mean) / sqrt(var + 1e-5), -5, 5)` in float32. A player clips means to
[-1, 1] and rescales them to the action space; where that is not known, actions are the means. The
model of squashed actions plays its means unsquashed, which is followed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import Agent, Network, Roles, comes_from, refuse_unready
from sparseagent.agents.spaces import BoxSpace, Space, read_space
from sparseagent.distributions import Categorical, DiagGaussian, MultiCategorical
from sparseagent.head import Argmax, Head, Raw, clip_to, unscale_to
from sparseagent.ops import Observation
from sparseagent.unsupported import UnsupportedError

_CLAMP = 5.0


def adapt(thing: object) -> Agent | None:
    """A player or an agent with its model, or a model."""
    if not comes_from(thing, "rl_games"):
        return None
    model = thing if isinstance(thing, nn.Module) else getattr(thing, "model", None)
    inner = getattr(model, "a2c_network", None)
    if not isinstance(model, nn.Module) or not isinstance(inner, nn.Module):
        return None
    return RlGames(model, None if thing is model else thing)


class Way(nn.Module):
    """From normalised features to means or logits."""

    def __init__(self, policy: nn.Module, *, clipped: bool, stochastic: bool, value: bool) -> None:
        super().__init__()
        self.policy: Any = policy
        self.clipped = clipped
        self.stochastic = stochastic
        self.value = value

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features `[B, in]` to means or logits, and what else is asked for."""
        net = self.policy.a2c_network
        hidden = net.actor_mlp(x)
        if net.is_discrete:
            outputs = {"action": net.logits(hidden)}
        elif net.is_multi_discrete:
            outputs = {"action": torch.cat([part(hidden) for part in net.logits], dim=1)}
        else:
            mean = net.mu_act(net.mu(hidden))
            outputs = {"action": torch.clamp(mean, -1.0, 1.0) if self.clipped else mean}
            if self.stochastic and not net.fixed_sigma:
                outputs["log_std"] = net.sigma_act(net.sigma(hidden))
        if self.value:
            of_critic = net.critic_mlp(x) if net.separate else hidden
            outputs["value"] = self._value(net.value_act(net.value(of_critic)))
        return outputs

    def _value(self, value: Tensor) -> Tensor:
        if not self.policy.normalize_value:
            return value
        norm = self.policy.value_mean_std
        scale = torch.sqrt(norm.running_var.float() + 1e-5)
        scaled: Tensor = torch.clamp(value, -_CLAMP, _CLAMP) * scale + norm.running_mean.float()
        return scaled


class RlGames(Agent):
    """A model, and the player or agent that it belongs to."""

    library = "rl-games"

    def roles(self) -> Roles:
        """All modules that hold weights, by what they do."""
        parts = dict(self.module.get_submodule("a2c_network").named_children())
        names = [name for name in ("mu", "logits") if name in parts]
        heads, mlp = [parts[name] for name in names], parts["actor_mlp"]
        left_out = tuple(parts[name] for name in ("sigma",) if name in parts)
        critics = [parts[name] for name in ("critic_mlp", "value") if name in parts]
        return Roles("actor", (mlp, *heads), tuple(critics), left_out=left_out)

    def networks(self) -> list[Network]:
        """The network that acts; the critic may read its hidden neurons."""
        acting = self.roles().acting
        return [Network(nn.Sequential(*acting), None, False, "actor")]

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
        refuse_unready(type(model).__qualname__, model)
        net = model.a2c_network
        if net.is_rnn():
            raise UnsupportedError("policy: expected one without memory, got one with an rnn")
        given = getattr(self.model, "action_space", None) if action_space is None else action_space
        space = None if given is None else read_space("action_space", given)
        scaled = net.is_continuous and isinstance(space, BoxSpace)
        scaled = scaled and bool(getattr(self.model, "clip_actions", True))
        head = self._head(space, scaled=scaled, stochastic=stochastic)
        # With a distribution the head clips, for samples are clipped as well.
        clipped = scaled and not stochastic
        observed: Space = BoxSpace(
            *(np.full(tuple(model.obs_shape), bound, np.float32) for bound in (-np.inf, np.inf))
        )
        if observation_space is not None:
            observed = read_space("observation_space", observation_space)
        return Acting(
            "A2C",
            Way(model, clipped=clipped, stochastic=stochastic, value=value),
            model,
            observed,
            space,
            head,
            normaliser=_normaliser(model),
            normalised=False,
            facts={"model": type(model).__qualname__.split(".")[0]},
        )

    def _head(self, space: Space | None, *, scaled: bool, stochastic: bool) -> Head:
        net: Any = self.module.get_submodule("a2c_network")
        if net.is_discrete:
            return Categorical() if stochastic else Argmax()
        if net.is_multi_discrete:
            return MultiCategorical(tuple(part.out_features for part in net.logits))
        bounds: Any = Raw()
        if scaled:
            assert isinstance(space, BoxSpace)
            bounds = unscale_to(space.low, space.high)
        if not stochastic:
            return bounds  # type: ignore[no-any-return]
        if not type(self.module).__qualname__.startswith("ModelA2CContinuousLogStd"):
            raise UnsupportedError(
                "stochastic: expected the model continuous_a2c_logstd, got "
                f"{type(self.module).__qualname__}"
            )
        if scaled:
            assert isinstance(space, BoxSpace)
            if not ((space.low == -1).all() and (space.high == 1).all()):
                raise UnsupportedError(
                    "stochastic: expected actions in [-1, 1], whose samples are clipped alone, got "
                    f"{space}"
                )
            bounds = clip_to(space.low, space.high)
        if not net.fixed_sigma:
            return DiagGaussian(None, bounds=bounds)
        log_std = net.sigma_act(net.sigma.detach()).float().cpu().numpy().copy()
        return DiagGaussian(log_std, bounds=bounds)


def _normaliser(model: Any) -> Observation | None:
    if not model.normalize_input:
        return None
    norm = model.running_mean_std
    if not hasattr(norm, "running_mean"):
        raise UnsupportedError("module 'running_mean_std': expected statistics of one vector")
    mean = norm.running_mean.float().cpu().numpy()
    scale = torch.sqrt(norm.running_var.float() + 1e-5).cpu().numpy()
    bounds = -_CLAMP, _CLAMP
    return Observation(mean.shape, "float32", mean.ravel(), scale.ravel(), *bounds, "float32")
