"""The networks inside a policy of Stable-Baselines3, each as one module that runs on its own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn


class Trunk(nn.Module):
    """A chain of layers whose outputs several heads read.

    Args:
        body: The chain; features in, last hidden neurons out.
        heads: What reads them.
        exposed: Whether something else reads them too, such as the exploration noise of gSDE.
    """

    def __init__(self, body: nn.Module, heads: Iterable[nn.Module], *, exposed: bool) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleList(heads)
        self.exposed = exposed

    def forward(self, features: Tensor) -> list[Tensor]:
        """What the heads return, and the last hidden neurons if they are exposed."""
        hidden = self.body(features)
        outputs = [head(hidden) for head in self.heads]
        return [*outputs, hidden] if self.exposed else outputs


@dataclass(frozen=True, eq=False)
class Network:
    """One network of a policy.

    Attributes:
        module: Features in, outputs out; it shares its layers with the policy.
        twin: The same of a target network, or `None`.
        critic: Whether it is a critic, which does not run when the agent acts.
        arch: Key of its hidden widths in the policy's `net_arch`: `"pi"`, `"vf"`, `"qf"`, or `""`
            where `net_arch` is one list.
    """

    module: nn.Module
    twin: nn.Module | None
    critic: bool
    arch: str


@dataclass(frozen=True)
class Roles:
    """What the modules of a policy are for, features extractors included.

    Attributes:
        acting_name: `"actor"` or `"q_net"`.
        acting: Those that run when the agent acts.
        critics: Those that run in training only.
        left_out: Lies inside `acting`, but the deterministic action does not read it.
        targets: (network, its target network).
        prunes_critic: Whether the critics bear pruning.
    """

    acting_name: str
    acting: tuple[nn.Module, ...]
    critics: tuple[nn.Module, ...]
    left_out: tuple[nn.Module, ...]
    targets: tuple[tuple[nn.Module, nn.Module], ...]
    prunes_critic: bool


def module_of(name: str, given: object) -> nn.Module:
    """The network of an argument: itself, or the policy of a model.

    Args:
        name: The argument, for the message.
        given: A network, or an object whose `policy` is one.

    Raises:
        TypeError: It is neither.
    """
    for candidate in (given, getattr(given, "policy", None)):
        if isinstance(candidate, nn.Module):
            return candidate
    raise TypeError(
        f"{name}: expected a torch.nn.Module or a Stable-Baselines3 model, got "
        f"{type(given).__name__}"
    )


def is_policy(module: nn.Module) -> bool:
    """Whether a module is a policy of Stable-Baselines3."""
    # A policy exists only where Stable-Baselines3 was imported, so it need not be imported here.
    policies = sys.modules.get("stable_baselines3.common.policies")
    return policies is not None and isinstance(module, policies.BasePolicy)


def policy_networks(policy: nn.Module) -> list[Network]:
    """The networks of a policy: the one that acts first, each critic by itself.

    Raises:
        TypeError: The policy is of an unknown kind.
    """
    kind, names = _kind(policy), dict(policy.named_children())
    if kind == "q_net":
        target = names.get("q_net_target")
        twin = None if target is None else target.get_submodule("q_net")
        return [Network(names["q_net"].get_submodule("q_net"), twin, False, "")]
    if kind == "actor_critic":
        actor, twin = names["actor"], names.get("actor_target")
        acting = Network(_actor(actor), None if twin is None else _actor(twin), False, "pi")
        return [acting, *_q_networks(names["critic"], names.get("critic_target"))]
    extractor = names["mlp_extractor"]
    body, head = extractor.get_submodule("policy_net"), names["action_net"]
    exposed = bool(getattr(policy, "use_sde", False))
    value = nn.Sequential(extractor.get_submodule("value_net"), names["value_net"])
    return [
        Network(Trunk(body, [head], exposed=exposed), None, False, "pi"),
        Network(value, None, True, "vf"),
    ]


def policy_roles(policy: nn.Module) -> Roles:
    """Sort all modules of a policy that hold weights by what they do.

    Raises:
        TypeError: The policy is of an unknown kind.
    """
    kind, names = _kind(policy), dict(policy.named_children())
    if kind == "q_net":
        q_net, target = names["q_net"], names.get("q_net_target")
        return Roles("q_net", (q_net,), (), (), _pairs((q_net, target)), False)
    if kind == "actor_critic":
        actor, critic = names["actor"], names["critic"]
        # The deterministic action never reads the standard deviation.
        left_out = tuple(m for name, m in actor.named_children() if name == "log_std")
        pairs = _pairs((actor, names.get("actor_target")), (critic, names.get("critic_target")))
        return Roles("actor", (actor,), (critic,), left_out, pairs, True)
    inner = dict(names["mlp_extractor"].named_children())
    acting = [inner.get("policy_net"), names["action_net"]]
    critics = [inner.get("value_net"), names.get("value_net")]
    if not getattr(policy, "share_features_extractor", True):
        acting.append(getattr(policy, "pi_features_extractor", None))
        critics.append(getattr(policy, "vf_features_extractor", None))
    return Roles("actor", _present(acting), _present(critics), (), (), False)


def _kind(policy: nn.Module) -> Literal["q_net", "actor_critic", "shared"]:
    """Duck-typed, so that subclasses fit too."""
    names = dict(policy.named_children())
    if "q_net" in names:
        return "q_net"
    if "actor" in names and "critic" in names:
        return "actor_critic"
    if "mlp_extractor" in names and "action_net" in names:
        return "shared"
    raise TypeError(
        "module: expected a policy of PPO, A2C, DQN, SAC, TD3 or DDPG, got "
        f"{type(policy).__name__}; pass a part of it that is no policy itself, such as an "
        "nn.Sequential, as a plain module instead"
    )


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
