"""Stable-Baselines3 and sb3-contrib: where a policy keeps its networks, and how it acts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import Agent, Network, Roles, Trunk, derives
from sparseagent.agents.sb3.acting import read_acting

_BASE_POLICY = "stable_baselines3.common.policies.BasePolicy"
_BASE_ALGORITHM = "stable_baselines3.common.base_class.BaseAlgorithm"
_RECENT = 256


@dataclass(frozen=True)
class _Kind:
    """How a family of policies lays out its networks.

    Attributes:
        online: The submodule that holds the network that acts.
        inner: The network in it; `""` for the submodule itself.
    """

    online: str
    inner: str = ""


#: Policies with one network that gives values of actions.
_VALUES = (_Kind("q_net", "q_net"), _Kind("quantile_net", "quantile_net"))


def adapt(thing: object) -> Agent | None:
    """A policy or a model of Stable-Baselines3."""
    if isinstance(thing, nn.Module):
        return StableBaselines3(thing) if derives(thing, _BASE_POLICY) else None
    policy = getattr(thing, "policy", None)
    if not isinstance(policy, nn.Module) or not derives(thing, _BASE_ALGORITHM):
        return None
    return StableBaselines3(policy, thing)


class StableBaselines3(Agent):
    """A policy of Stable-Baselines3 or sb3-contrib; subclasses are told by their submodules."""

    library = "stable-baselines3"

    def networks(self) -> list[Network]:
        """The networks: the one that acts first, each critic by itself."""
        parts = self._parts()
        for kind in _VALUES:
            if kind.online in parts:
                target = parts.get(f"{kind.online}_target")
                twin = None if target is None else target.get_submodule(kind.inner)
                online = parts[kind.online].get_submodule(kind.inner)
                return [Network(online, twin, False, "")]
        if "actor" in parts:
            actor, twin = parts["actor"], parts.get("actor_target")
            acting = Network(_actor(actor), None if twin is None else _actor(twin), False, "pi")
            return [acting, *_q_networks(parts["critic"], parts.get("critic_target"))]
        if "mlp_extractor" not in parts:
            return [Network(parts["action_net"], None, False, "")]
        extractor = parts["mlp_extractor"]
        body, head = extractor.get_submodule("policy_net"), parts["action_net"]
        exposed = bool(getattr(self.module, "use_sde", False))
        value = nn.Sequential(extractor.get_submodule("value_net"), parts["value_net"])
        return [
            Network(Trunk(body, [head], exposed=exposed), None, False, "pi"),
            Network(value, None, True, "vf"),
        ]

    def roles(self) -> Roles:
        """All modules that hold weights, by what they do."""
        parts = self._parts()
        for kind in _VALUES:
            if kind.online in parts:
                online, target = parts[kind.online], parts.get(f"{kind.online}_target")
                return Roles("q_net", (online,), targets=_pairs((online, target)))
        if "actor" in parts:
            actor, critic = parts["actor"], parts["critic"]
            # The deterministic action never reads the standard deviation.
            left_out = tuple(m for name, m in actor.named_children() if name == "log_std")
            pairs = (actor, parts.get("actor_target")), (critic, parts.get("critic_target"))
            heads = tuple(getattr(critic, "q_networks", ()))
            return Roles(
                *("actor", (actor,), (critic,), heads),
                left_out=left_out,
                targets=_pairs(*pairs),
                prunes_critic=True,
            )
        if "mlp_extractor" not in parts:
            return Roles("actor", (parts["action_net"],))
        inner = dict(parts["mlp_extractor"].named_children())
        acting = [inner.get("policy_net"), parts["action_net"]]
        critics = [inner.get("value_net"), parts.get("value_net")]
        shared = []
        if getattr(self.module, "share_features_extractor", True):
            shared.append(parts.get("features_extractor"))
        else:
            acting.append(getattr(self.module, "pi_features_extractor", None))
            critics.append(getattr(self.module, "vf_features_extractor", None))
        return Roles("actor", _present(acting), _present(critics), shared=_present(shared))

    def acting(
        self,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        stochastic: bool = False,
        value: bool = False,
    ) -> Acting:
        """How it acts: for conversion."""
        spaces = observation_space, action_space
        return read_acting(self.module, self.model, *spaces, stochastic=stochastic, value=value)

    def acting_optimizer(self) -> Optimizer | None:
        """The actor's, which ends a gradient update."""
        # SAC computes the actor's loss before the critic's step. Masks that changed after that
        # step would change weights which the actor's backward pass still needs.
        found = vars(getattr(self.module, "actor", self.module)).get("optimizer")
        return found if isinstance(found, Optimizer) else None

    def run(self, batch: Any) -> None:
        """Run the actor and, on its actions, the critics; observations as the environment's."""
        policy: Any = self.module
        array = batch.cpu().numpy() if isinstance(batch, Tensor) else batch
        observations, _ = policy.obs_to_tensor(array)
        actions = policy._predict(observations, deterministic=True)
        if hasattr(policy, "predict_values"):
            policy.predict_values(observations)
        elif hasattr(policy, "critic"):
            policy.critic(observations, actions)

    def recent_observations(self) -> Any:
        """The latest in the model's buffer, N <= 256, normalised as the policy gets them.

        From a replay buffer they are the latest of all environments. While an on-policy model
        learns, its rollout lies environment by environment, and they are the last of it: the latest
        steps of the last environment, and of those before it where it has too few. No random
        number is drawn.
        """
        model = self.model
        replayed = getattr(model, "replay_buffer", None)
        buffer: Any = getattr(model, "rollout_buffer", None) if replayed is None else replayed
        if not isinstance(getattr(buffer, "obs_shape", None), tuple):
            raise TypeError(
                "batch: expected a function that returns inputs, as there are no plain "
                f"observations in the model's {type(buffer).__name__}, got None"
            )
        size = buffer.buffer_size if buffer.full else buffer.pos
        if not size:
            raise ValueError("batch: expected observations in the model's buffer, got none yet")
        # Not the buffer's own, which makes a vector of one number of a discrete observation.
        shape = model.observation_space.shape
        if replayed is None:
            return buffer.observations.reshape(-1, *shape)[-_RECENT:]
        count = min(size, -(-_RECENT // buffer.n_envs))
        places = [(buffer.pos - 1 - back) % buffer.buffer_size for back in range(count)]
        rows = buffer.observations[places].reshape(-1, *shape)[:_RECENT]
        return buffer._normalize_obs(rows, model._vec_normalize_env)

    def resized(self) -> None:
        """Bring `net_arch`, wherever policy and model keep it, to the widths of the layers."""
        policy: Any = self.module
        widths = _group_widths(self.networks())
        whole: Any = widths.get("", widths)
        policy.net_arch = whole
        if self.model is not None:
            self.model.policy_kwargs["net_arch"] = whole
        for name, group in _REMEMBERING.items():
            for part in (getattr(policy, name, None), getattr(policy, f"{name}_target", None)):
                if part is not None and hasattr(part, "net_arch"):
                    part.net_arch = widths[group]
        for name, group in (("actor_kwargs", "pi"), ("critic_kwargs", "qf"), ("net_args", "")):
            kwargs = getattr(policy, name, None)
            if kwargs is not None and group in widths:
                kwargs["net_arch"] = widths[group]
        extractor = getattr(policy, "mlp_extractor", None)
        if extractor is not None:
            extractor.latent_dim_pi = _width(extractor.policy_net, extractor.latent_dim_pi)
            extractor.latent_dim_vf = _width(extractor.value_net, extractor.latent_dim_vf)

    def _parts(self) -> dict[str, nn.Module]:
        """The submodules, if they are those of a known kind."""
        parts = dict(self.module.named_children())
        values = any(kind.online in parts for kind in _VALUES)
        if values or {"actor", "critic"} <= parts.keys() or "action_net" in parts:
            return parts
        raise TypeError(
            "module: expected a policy of PPO, A2C, DQN, SAC, TD3, DDPG or sb3-contrib, got "
            f"{type(self.module).__name__}; pass a part of it that is no policy itself, such as an "
            "nn.Sequential, as a plain module instead"
        )


#: Submodules that remember their hidden widths, and the group whose they are.
_REMEMBERING: Mapping[str, str] = {"actor": "pi", "critic": "qf", "q_net": "", "quantile_net": ""}


def _group_widths(networks: Iterable[Network]) -> dict[str, list[int]]:
    """The hidden widths of each group; `net_arch` describes its networks together."""
    found: dict[str, list[int]] = {}
    for network in networks:
        widths = _hidden_widths(network.module)
        if found.setdefault(network.group, widths) != widths:
            raise ValueError(
                f"module: expected equal hidden widths in all critics, got {found[network.group]} "
                f"and {widths}"
            )
    return found


def _present(modules: Iterable[nn.Module | None]) -> tuple[nn.Module, ...]:
    return tuple(module for module in modules if module is not None)


def _pairs(*pairs: tuple[nn.Module, nn.Module | None]) -> tuple[tuple[nn.Module, nn.Module], ...]:
    return tuple((online, target) for online, target in pairs if target is not None)


def _actor(actor: nn.Module) -> nn.Module:
    names = dict(actor.named_children())
    if "latent_pi" not in names:
        return names["mu"]
    heads = [names[name] for name in ("mu", "log_std") if name in names]
    return Trunk(names["latent_pi"], heads, exposed=bool(getattr(actor, "use_sde", False)))


def _q_networks(critic: nn.Module, target: nn.Module | None) -> Iterator[Network]:
    for name, child in critic.named_children():
        if name.startswith("qf"):
            yield Network(child, None if target is None else target.get_submodule(name), True, "qf")


def _hidden_widths(module: nn.Module) -> list[int]:
    body = module.body if isinstance(module, Trunk) else module
    widths = [child.out_features for child in body.modules() if isinstance(child, nn.Linear)]
    return widths if isinstance(module, Trunk) else widths[:-1]


def _width(net: nn.Module, otherwise: int) -> int:
    widths = [child.out_features for child in net.modules() if isinstance(child, nn.Linear)]
    return widths[-1] if widths else otherwise
