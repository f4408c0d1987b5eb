"""Reads the zip of a Stable-Baselines3 model without running anything that it holds.

The tensors come from `policy.pth` (`torch_file`). The rest lies in the JSON file `data`, partly as
pickles: those are read as data (`inert_pickle`), which yields the policy's class, the spaces and
the keyword arguments exactly. The text that Stable-Baselines3 writes beside the pickles is not
used: NumPy rounds it to the print options of the day. Whatever the file holds, it is read in
bounded time and memory, or a `ValueError` says what is wrong.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules import activation as activation_modules

from sparseagent.agents import Acting
from sparseagent.agents.pruned import KEPT
from sparseagent.agents.sb3.acting import ALGORITHMS, KINDS, acting_of, remembers_normaliser
from sparseagent.agents.spaces import DictSpace, DiscreteSpace, Space, check_kind, inputs
from sparseagent.convert.archive import Archive
from sparseagent.convert.inert_pickle import Name, brief, describe, read_pickle
from sparseagent.convert.pickled_numpy import number
from sparseagent.convert.pickled_spaces import read_pickled_space
from sparseagent.convert.sb3_network import Options, rebuild
from sparseagent.convert.torch_file import TensorFile
from sparseagent.convert.torch_rules import ACTIVATION_MODULES
from sparseagent.unsupported import UnsupportedError

#: Classes of policies of Dict observations, and the kinds whose networks they have.
_MULTI_INPUT: Mapping[str, str] = {
    "stable_baselines3.common.policies.MultiInputActorCriticPolicy": "actor-critic",
    "stable_baselines3.dqn.policies.MultiInputPolicy": "q-network",
    "stable_baselines3.sac.policies.MultiInputPolicy": "sac",
    "stable_baselines3.td3.policies.MultiInputPolicy": "td3",
    "sb3_contrib.common.maskable.policies.MaskableMultiInputActorCriticPolicy": "maskable",
    "sb3_contrib.qrdqn.policies.MultiInputPolicy": "quantile",
    "sb3_contrib.tqc.policies.MultiInputPolicy": "tqc",
}
_ARS_LINEAR = "sb3_contrib.ars.policies.ARSLinearPolicy"
_POLICIES: Mapping[str, str] = {
    **{kind.policy: name for name, kind in KINDS.items()},
    **_MULTI_INPUT,
    _ARS_LINEAR: "ars",
}
_LAYERS = "stable_baselines3.common.torch_layers"
_FLATTEN, _COMBINED = Name(_LAYERS, "FlattenExtractor"), Name(_LAYERS, "CombinedExtractor")
#: Keyword arguments of policies that conversion reads, or that do not touch the actor's network.
_KNOWN_KEYWORDS = frozenset(
    {
        *("net_arch", "activation_fn", "squash_output", "use_sde", "clip_mean", "device"),
        *("features_extractor_class", "features_extractor_kwargs", "share_features_extractor"),
        *("normalize_images", "ortho_init", "log_std_init", "full_std", "use_expln"),
        *("sde_net_arch", "n_critics", "optimizer_class", "optimizer_kwargs", "n_quantiles"),
        *("with_bias", "batch_norm", "batch_norm_momentum", "batch_norm_eps"),
        *("renorm_warmup_steps",),
    }
)
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


def read_zip(
    file: Path, stated: Stated, *, stochastic: bool = False, value: bool = False
) -> Acting:
    """Read how a saved model acts.

    Args:
        file: the zip.
        stated: what the caller says.
        stochastic: whether it should be able to sample.
        value: whether the value network comes along.

    Raises:
        FileNotFoundError: no such file.
        UnsupportedError: a class or space that cannot be represented.
        ValueError: a file that is damaged, unsafe, or does not say what is needed.
    """
    content = _content(file)
    data, tensors = _open(file, content)
    kind, algorithm = _algorithm(data, stated.algo)
    keywords = _keywords(data)
    observation_space = _space(data, "observation_space", stated.observation_space)
    _check_inputs(observation_space, keywords)
    action_space = _space(data, "action_space", stated.action_space)
    options = _options(kind, data, keywords, stated.activation, action_space)
    options = replace(options, stochastic=stochastic, value=value)
    acting = acting_of(
        rebuild(kind, tensors, options),
        kind,
        observation_space,
        action_space,
        algorithm=algorithm,
        stochastic=stochastic,
        value=value,
        epsilon=_real(data, "exploration_rate", 0.0) if stochastic else 0.0,
        resample=max(0, int(_real(data, "sde_sample_freq", -1))) if stochastic else 0,
        normalised=_normalised(data, kind),
        kept=data.get(KEPT),
    )
    digest = hashlib.sha256(content).hexdigest()
    return replace(acting, facts={**acting.facts, "source_sha256": digest})


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


def _normalised(data: Mapping[str, Any], kind: str) -> bool | None:
    if "_last_original_obs" not in data:
        return None
    return remembers_normaliser(kind, data.get("num_timesteps"), data["_last_original_obs"])


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
    """The policy's kind and the algorithm's name."""
    known = ", ".join(ALGORITHMS)
    if stated is not None and stated not in ALGORITHMS:
        raise ValueError(f"algo: expected one of {known}, got {stated!r}")
    policy_class = _entry(data, "policy_class")
    kind = _POLICIES.get(str(policy_class)) if isinstance(policy_class, Name) else None
    if stated is not None:
        if kind not in (None, ALGORITHMS[stated][1]):
            raise ValueError(
                f"algo: expected one that fits {describe(policy_class)}, got {stated!r}"
            )
        return ALGORITHMS[stated][1], stated
    if kind is None:
        raise UnsupportedError(
            f"policy_class: expected the MlpPolicy or MultiInputPolicy of {known}, got "
            f"{describe(policy_class)}{_hint(policy_class)}"
        )
    return kind, _name(kind, data)


def _name(kind: str, data: Mapping[str, Any]) -> str:
    """Which of the algorithms that share a kind of policy it is."""
    if kind == "actor-critic":
        if "cg_max_steps" in data:
            return "TRPO"
        return "PPO" if "clip_range" in data else "A2C"
    if kind == "td3":  # Stable-Baselines3 makes a DDPG from a TD3 with these numbers
        ddpg = data.get("policy_delay") == 1 and data.get("target_noise_clip") == 0
        return "DDPG" if ddpg else "TD3"
    return next(name for name, (_, own) in ALGORITHMS.items() if own == kind)


def _hint(policy_class: Any) -> str:
    """Why a class is not known, and what to do."""
    name = policy_class.qualname if isinstance(policy_class, Name) else ""
    if "Recurrent" in name:
        return "; policies with memory cannot be compiled yet"
    if "Cnn" in name:
        return "; policies of images cannot be compiled yet"
    return "; pass algo= if it acts as one of them"


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
    if extractor not in (_FLATTEN, _COMBINED):
        raise UnsupportedError(
            f"policy_kwargs: features_extractor_class: expected FlattenExtractor or "
            f"CombinedExtractor, got {describe(extractor)}; load the model and pass it instead"
        )
    return keywords


def _real(data: Mapping[str, Any], key: str, otherwise: float) -> float:
    """A number among the data, plain or pickled."""
    return float(number(f"data: {key}", _entry(data, key) if key in data else otherwise))


def _check_inputs(space: Space, keywords: Mapping[str, Any]) -> None:
    """Refuse images, which a CombinedExtractor takes through convolutions."""
    if not isinstance(space, DictSpace):
        return
    for key, part in inputs(space).items():
        if getattr(part, "is_image", False):
            raise UnsupportedError(
                f"observation_space: {key}: expected a vector, got an image, {part}; policies of "
                "images cannot be compiled yet"
            )


def _options(
    kind: str, data: Mapping[str, Any], keywords: Mapping[str, Any], activation: Any, actions: Space
) -> Options:
    """What the tensors do not say."""

    def flag(name: str, otherwise: bool = False) -> bool:
        return _flag(f"policy_kwargs: {name}", keywords.get(name, otherwise))

    def real(name: str, otherwise: float) -> float:
        return float(number(f"policy_kwargs: {name}", keywords.get(name, otherwise)))

    use_sde = _flag("use_sde", data.get("use_sde", False))
    if kind in ("sac", "tqc", "crossq", "td3"):
        squash = True
    elif kind == "ars":
        squash = flag("squash_output", str(_entry(data, "policy_class")) != _ARS_LINEAR)
        squash = squash and not isinstance(actions, DiscreteSpace)
    else:  # PPO and A2C have a tanh with gSDE alone
        squash = flag("squash_output") and use_sde
    return Options(
        activation=_activation(keywords.get("activation_fn"), activation, kind),
        squash_output=squash,
        use_sde=use_sde,
        use_expln=flag("use_expln"),
        clip_mean=real("clip_mean", 2.0),
        normalize_images=flag("normalize_images", otherwise=True),
        renorm_eps=real("batch_norm_eps", 1e-3),
        actions=actions.n if isinstance(actions, DiscreteSpace) else 1,
        stochastic=False,
        value=False,
    )


def _space(data: Mapping[str, Any], name: str, given: Any) -> Space:
    if given is None:
        return read_pickled_space(name, _entry(data, name))
    stated = read_pickled_space(name, given)
    if name == "action_space" and name in data:
        with contextlib.suppress(UnsupportedError):  # a space of its own, which behaves as one
            check_kind(name, read_pickled_space(name, _entry(data, name)), stated)
    return stated


def _activation(pickled: Any, stated: Any, kind: str) -> nn.Module:
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
        default: nn.Module = getattr(nn, KINDS[kind].activation)()
        return default
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
