"""The hidden widths that a Stable-Baselines3 model remembers, and builds again when loaded."""

from __future__ import annotations

from typing import Any

from torch import nn

from sparseagent.prune.networks import Trunk, policy_networks


def update_architecture(policy: Any, model: Any | None) -> None:
    """Bring `net_arch`, wherever the policy and the model keep it, to the widths of the layers.

    Args:
        policy: A policy of Stable-Baselines3 whose layers were cut.
        model: The model it belongs to, or `None`; only with it does `model.save` write the widths
            that `load` builds.

    Raises:
        ValueError: Critics that `net_arch` describes together have different widths.
    """
    arch: dict[str, list[int]] = {}
    for network in policy_networks(policy):
        widths = _hidden_widths(network.module)
        if arch.setdefault(network.arch, widths) != widths:
            raise ValueError(
                f"module: expected equal hidden widths in all critics, got {arch[network.arch]} "
                f"and {widths}"
            )
    whole: Any = arch.get("", arch)
    policy.net_arch = whole
    if model is not None:
        model.policy_kwargs["net_arch"] = whole
    for name, key in (("actor", "pi"), ("critic", "qf"), ("q_net", "")):
        for part in (getattr(policy, name, None), getattr(policy, f"{name}_target", None)):
            if part is not None and hasattr(part, "net_arch"):
                part.net_arch = arch[key]
    for name, key in (("actor_kwargs", "pi"), ("critic_kwargs", "qf"), ("net_args", "")):
        kwargs = getattr(policy, name, None)
        if kwargs is not None and key in arch:
            kwargs["net_arch"] = arch[key]
    extractor = getattr(policy, "mlp_extractor", None)
    if extractor is not None:
        extractor.latent_dim_pi = _width(extractor.policy_net, extractor.latent_dim_pi)
        extractor.latent_dim_vf = _width(extractor.value_net, extractor.latent_dim_vf)


def _hidden_widths(module: nn.Module) -> list[int]:
    body = module.body if isinstance(module, Trunk) else module
    widths = [child.out_features for child in body.modules() if isinstance(child, nn.Linear)]
    return widths if isinstance(module, Trunk) else widths[:-1]


def _width(net: nn.Module, otherwise: int) -> int:
    widths = [child.out_features for child in net.modules() if isinstance(child, nn.Linear)]
    return widths[-1] if widths else otherwise
