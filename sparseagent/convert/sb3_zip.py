"""Reads the zip of a Stable-Baselines3 model without running anything that it holds.

The tensors come from `policy.pth` through torch's `weights_only` loader. The rest lies in the
JSON file `data`, partly as pickles: those are read as data (`inert_pickle`), which yields the
policy's class, the spaces and the keyword arguments exactly. The text that Stable-Baselines3
writes beside the pickles is not used: NumPy rounds it to the print options of the day.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparseagent.convert.inert_pickle import Name, describe, read_pickle
from sparseagent.convert.masks import Masks
from sparseagent.convert.sb3_network import add_network
from sparseagent.convert.sb3_source import FAMILIES, Source
from sparseagent.convert.spaces import read_space
from sparseagent.convert.torch_modules import ACTIVATION_MODULES

_POLICIES: Mapping[str, str] = {
    "stable_baselines3.common.policies.ActorCriticPolicy": "on-policy",
    "stable_baselines3.dqn.policies.DQNPolicy": "q-network",
    "stable_baselines3.sac.policies.SACPolicy": "sac",
    "stable_baselines3.td3.policies.TD3Policy": "td3",
}
_FLATTEN = Name("stable_baselines3.common.torch_layers", "FlattenExtractor")
#: Keyword arguments of policies that conversion reads, or that do not touch the actor's network.
_KNOWN_KEYWORDS = frozenset(
    {
        *("net_arch", "activation_fn", "squash_output", "use_sde", "clip_mean"),
        *("features_extractor_class", "features_extractor_kwargs", "share_features_extractor"),
        *("normalize_images", "ortho_init", "log_std_init", "full_std", "use_expln"),
        *("sde_net_arch", "n_critics", "optimizer_class", "optimizer_kwargs"),
    }
)
_DEFAULT_ACTIVATION: Mapping[str, type[nn.Module]] = {
    "on-policy": nn.Tanh,
    "q-network": nn.ReLU,
    "sac": nn.ReLU,
    "td3": nn.ReLU,
}
#: `data` holds small things: spaces, numbers, the last observation.
_DATA_LIMIT = 1 << 30


@dataclass(frozen=True)
class Stated:
    """What the caller says about a zip, in place of what it holds; None where nothing is said."""

    algo: str | None = None
    activation: str | type[nn.Module] | nn.Module | None = None
    observation_space: Any = None
    action_space: Any = None


def read_zip(path: Path, stated: Stated, masks: Masks | None) -> Source:
    """Read the actor of a saved PPO, A2C, DQN, SAC, TD3 or DDPG model.

    Args:
        path: the zip; `.zip` is added where the file has no such name, as in `model.load`.
        stated: what the caller says.
        masks: which weights exist, by their names in the policy; None for the nonzero ones.

    Raises:
        FileNotFoundError: no such file.
        TypeError: a class or space that cannot be represented.
        ValueError: a file that is damaged, unsafe, or does not say what is needed.
    """
    named = path.exists() or path.suffix == ".zip"
    file = path if named else path.with_name(path.name + ".zip")
    content = file.read_bytes()
    data, tensors = _open(file, content)
    family, algorithm = _algorithm(data, stated.algo)
    keywords = _keywords(data)
    squashed = family in ("sac", "td3")
    if family == "on-policy":
        squashed = bool(data.get("use_sde")) and bool(keywords.get("squash_output", False))
    spaces = {
        name: read_space(name, _entry(data, name) if given is None else given)
        for name, given in (
            ("observation_space", stated.observation_space),
            ("action_space", stated.action_space),
        )
    }
    activation = _activation(keywords.get("activation_fn"), stated.activation, family)
    clip_mean = float(keywords.get("clip_mean", 2.0))
    return Source(
        algorithm,
        add_network(
            family, tensors, activation, squashed=squashed, clip_mean=clip_mean, masks=masks
        ),
        squashed,
        spaces["observation_space"],
        spaces["action_space"],
        bool(keywords.get("normalize_images", True)),
        {"source_sha256": hashlib.sha256(content).hexdigest()},
    )


def _open(file: Path, content: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo("data").file_size > _DATA_LIMIT:
                raise ValueError(f"{file}: data: expected at most {_DATA_LIMIT} bytes")
            data = json.loads(archive.read("data"))
            policy = archive.read("policy.pth")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{file}: expected the zip of a Stable-Baselines3 model with data and policy.pth: "
            f"{error}"
        ) from error
    try:
        tensors = torch.load(io.BytesIO(policy), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{file}: policy.pth: expected tensors alone: {error}") from error
    if not isinstance(data, dict) or not isinstance(tensors, dict):
        raise ValueError(f"{file}: expected a JSON object in data and a dict in policy.pth")
    return data, tensors


def _entry(data: Mapping[str, Any], key: str) -> Any:
    """An entry of `data`: plain JSON as it is, a pickled one as the tree of its pickle."""
    value = data.get(key)
    if not isinstance(value, dict) or ":serialized:" not in value:
        return value
    return read_pickle(f"data: {key}", base64.b64decode(str(value[":serialized:"])))


def _algorithm(data: Mapping[str, Any], stated: str | None) -> tuple[str, str]:
    """The structure's family and the algorithm's name."""
    if stated is not None and stated not in FAMILIES:
        raise ValueError(f"algo: expected one of {', '.join(FAMILIES)}, got {stated!r}")
    policy_class = _entry(data, "policy_class")
    family = _POLICIES.get(str(policy_class)) if isinstance(policy_class, Name) else None
    if stated is not None:
        if family not in (None, FAMILIES[stated]):
            raise ValueError(f"algo: expected one that fits {policy_class}, got {stated!r}")
        return FAMILIES[stated], stated
    if family is None:
        raise TypeError(
            f"policy_class: expected the MlpPolicy of {', '.join(FAMILIES)}, got "
            f"{describe(policy_class)}; pass algo= if it acts as one of them"
        )
    if family == "on-policy":
        return family, "PPO" if "clip_range" in data else "A2C"
    if family == "td3":  # Stable-Baselines3 makes a DDPG from a TD3 with these numbers
        ddpg = data.get("policy_delay") == 1 and data.get("target_noise_clip") == 0
        return family, "DDPG" if ddpg else "TD3"
    return family, {"q-network": "DQN", "sac": "SAC"}[family]


def _keywords(data: Mapping[str, Any]) -> dict[str, Any]:
    """The policy's keyword arguments."""
    keywords = _entry(data, "policy_kwargs")
    if keywords is None:
        return {}
    if not isinstance(keywords, dict):
        raise ValueError(f"policy_kwargs: expected a dict, got {describe(keywords)}")
    unknown = sorted(str(key) for key in keywords if key not in _KNOWN_KEYWORDS)
    if unknown:
        raise ValueError(
            f"policy_kwargs: expected those of an MlpPolicy, got {', '.join(unknown)} as well"
        )
    extractor = keywords.get("features_extractor_class", _FLATTEN)
    if extractor != _FLATTEN:
        raise TypeError(
            f"policy_kwargs: features_extractor_class: expected FlattenExtractor, got "
            f"{describe(extractor)}"
        )
    return keywords


def _activation(pickled: Any, stated: Any, family: str) -> nn.Module:
    """The module that stands between two Linears."""
    if isinstance(stated, nn.Module):
        return stated
    if isinstance(stated, type) and issubclass(stated, nn.Module):
        return stated()
    if stated is not None:
        if stated not in ACTIVATION_MODULES:
            raise ValueError(
                f"activation: expected an nn.Module or one of {', '.join(ACTIVATION_MODULES)}, "
                f"got {stated!r}"
            )
        return ACTIVATION_MODULES[stated]()
    if pickled is None:
        return _DEFAULT_ACTIVATION[family]()
    kind = getattr(nn, pickled.qualname, None) if _is_torch_activation(pickled) else None
    if kind is None:
        raise ValueError(
            f"policy_kwargs: activation_fn: expected a class of torch.nn, got "
            f"{describe(pickled)}; pass activation= with the module, such as nn.LeakyReLU(0.2)"
        )
    module: nn.Module = kind()
    return module


def _is_torch_activation(node: Any) -> bool:
    return isinstance(node, Name) and node.module == "torch.nn.modules.activation"
