"""Reads the zip of a Stable-Baselines3 model without running anything that it holds.

The tensors come from `policy.pth` (`torch_file`). The rest lies in the JSON file `data`, partly as
pickles: those are read as data (`inert_pickle`), which yields the policy's class, the spaces and
the keyword arguments exactly. The text that Stable-Baselines3 writes beside the pickles is not
used: NumPy rounds it to the print options of the day. Whatever the file holds, it is read in
bounded time and memory, or a `ValueError` says what is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules import activation as activation_modules

from sparseagent.convert.archive import Archive
from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.inert_pickle import Name, brief, describe, read_pickle
from sparseagent.convert.pickled_numpy import number
from sparseagent.convert.sb3_network import add_network
from sparseagent.convert.sb3_source import FAMILIES, Source, remembers_normaliser
from sparseagent.convert.spaces import Space, read_space
from sparseagent.convert.torch_file import TensorFile
from sparseagent.convert.torch_rules import ACTIVATION_MODULES
from sparseagent.convert.unsupported import UnsupportedError

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
#: Bytes that are read of a model, and of its members. `data` holds small things: spaces, numbers,
#: the last observation. See `archive` for what a packed member may unpack to.
_FILE_LIMIT = 1 << 30
_DATA_LIMIT = 8 << 20
#: What JSON turns into objects of its own, of up to 250 bytes: an agent with an MlpPolicy has some
#: hundreds, for its arrays are pickles in base64, which has none of these.
_COSTLY = (b"[", b"{", b",", b":", b"\\")
_MOST_COSTLY = 100_000
_POLICY_LIMIT = 256 << 20


@dataclass(frozen=True)
class Stated:
    """What the caller says about a zip, in place of what it holds; None where nothing is said."""

    algo: str | None = None
    activation: str | type[nn.Module] | nn.Module | None = None
    observation_space: Any = None
    action_space: Any = None


def zip_file(path: Path) -> Path:
    """The zip that `path` means: `.zip` is added where no such file exists, as in `model.load`."""
    named = path.exists() or path.suffix == ".zip"
    return path if named else path.with_name(path.name + ".zip")


def read_zip(file: Path, stated: Stated) -> Source:
    """Read the actor of a saved PPO, A2C, DQN, SAC, TD3 or DDPG model.

    Args:
        file: the zip.
        stated: what the caller says.

    Raises:
        FileNotFoundError: no such file.
        UnsupportedError: a class or space that cannot be represented.
        ValueError: a file that is damaged, unsafe, or does not say what is needed.
    """
    content = _content(file)
    data, tensors = _open(file, content)
    family, algorithm = _algorithm(data, stated.algo)
    keywords = _keywords(data)
    squashed = _squashed(family, data, keywords)
    observation_space = _space(data, "observation_space", stated.observation_space)
    action_space = _space(data, "action_space", stated.action_space)
    activation = _activation(keywords.get("activation_fn"), stated.activation, family)
    clip_mean = number("policy_kwargs: clip_mean", keywords.get("clip_mean", 2.0))

    def network(builder: Builder, x: Value) -> Value:
        return add_network(
            builder, x, family, tensors, activation, squashed=squashed, clip_mean=clip_mean
        )

    return Source(
        algorithm,
        network,
        squashed,
        observation_space,
        action_space,
        _flag("policy_kwargs: normalize_images", keywords.get("normalize_images", True)),
        {"source_sha256": hashlib.sha256(content).hexdigest()},
        _normalised(data, family),
    )


def _content(file: Path) -> bytes:
    size = file.stat().st_size
    if size > _FILE_LIMIT:
        raise ValueError(f"{file}: expected a model of at most {_FILE_LIMIT:,} bytes, got {size:,}")
    return file.read_bytes()


def _open(file: Path, content: bytes) -> tuple[dict[str, Any], TensorFile]:
    name = f"{file}: expected the zip of a Stable-Baselines3 model with data and policy.pth"
    archive = Archive(name, content)
    text = archive.read("data", _DATA_LIMIT)
    if sum(map(text.count, _COSTLY)) > _MOST_COSTLY:
        raise ValueError(f"{name}: data: expected at most {_MOST_COSTLY:,} lists, entries, escapes")
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{name}: data: too deeply nested") from error
    except ValueError as error:
        raise ValueError(f"{name}: data: {brief(error)}") from error
    tensors = TensorFile("policy.pth", archive.read("policy.pth", _POLICY_LIMIT))
    if not isinstance(data, dict):
        raise ValueError(f"{file}: expected a JSON object in data, got {describe(data)}")
    return data, tensors


def _normalised(data: Mapping[str, Any], family: str) -> bool | None:
    if "_last_original_obs" not in data:
        return None
    return remembers_normaliser(family, data.get("num_timesteps"), data["_last_original_obs"])


def _entry(data: Mapping[str, Any], key: str) -> Any:
    """An entry of `data`: plain JSON as it is, a pickled one as the tree of its pickle."""
    value = data.get(key)
    if not isinstance(value, dict) or ":serialized:" not in value:
        return value
    coded = value[":serialized:"]
    if not isinstance(coded, str):
        raise ValueError(f"data: {key}: expected a pickle in base64, got {describe(coded)}")
    return read_pickle(f"data: {key}", base64.b64decode(coded))


def _algorithm(data: Mapping[str, Any], stated: str | None) -> tuple[str, str]:
    """The structure's family and the algorithm's name."""
    if stated is not None and stated not in FAMILIES:
        raise ValueError(f"algo: expected one of {', '.join(FAMILIES)}, got {stated!r}")
    policy_class = _entry(data, "policy_class")
    family = _POLICIES.get(str(policy_class)) if isinstance(policy_class, Name) else None
    if stated is not None:
        if family not in (None, FAMILIES[stated]):
            raise ValueError(
                f"algo: expected one that fits {describe(policy_class)}, got {stated!r}"
            )
        return FAMILIES[stated], stated
    if family is None:
        raise UnsupportedError(
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
    unknown = sorted(brief(key) for key in keywords if key not in _KNOWN_KEYWORDS)
    if unknown:
        names = f"{', '.join(unknown[:5])}{' and others' if len(unknown) > 5 else ''}"
        raise ValueError(f"policy_kwargs: expected those of an MlpPolicy, got {names} as well")
    extractor = keywords.get("features_extractor_class", _FLATTEN)
    if extractor != _FLATTEN:
        raise UnsupportedError(
            f"policy_kwargs: features_extractor_class: expected FlattenExtractor, got "
            f"{describe(extractor)}"
        )
    return keywords


def _squashed(family: str, data: Mapping[str, Any], keywords: Mapping[str, Any]) -> bool:
    """Whether a tanh follows the last layer; PPO and A2C have one with gSDE alone."""
    if family != "on-policy":
        return family in ("sac", "td3")
    noisy = _flag("use_sde", data.get("use_sde", False))
    return _flag("squash_output", keywords.get("squash_output", False)) and noisy


def _space(data: Mapping[str, Any], name: str, given: Any) -> Space:
    return read_space(name, _entry(data, name) if given is None else given)


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
    module = _torch_activation(pickled)
    if module is None:
        raise ValueError(
            f"policy_kwargs: activation_fn: expected a class of torch.nn, got "
            f"{describe(pickled)}; pass activation= with the module, such as nn.LeakyReLU(0.2)"
        )
    return module


def _torch_activation(node: Any) -> nn.Module | None:
    """The activation that a name means, if torch has it and it needs no arguments."""
    known = isinstance(node, Name) and node.module == activation_modules.__name__
    if not known or node.qualname not in activation_modules.__all__:
        return None
    try:
        module: nn.Module = getattr(activation_modules, node.qualname)()
    except TypeError:
        return None
    return module


def _flag(name: str, value: Any) -> bool:
    found = number(name, value)
    if found not in (0, 1):
        raise ValueError(f"{name}: expected True or False, got {found}")
    return bool(found)
