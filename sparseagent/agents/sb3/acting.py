"""How policies of Stable-Baselines3 and sb3-contrib act: the kinds, and what is no such kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sparseagent.agents.acting import Acting
from sparseagent.agents.agent import refuse_unready
from sparseagent.agents.pruned import KEPT
from sparseagent.agents.sb3 import heads
from sparseagent.agents.sb3.ways import (
    ActorCritic,
    DeterministicActor,
    QuantileValues,
    Searched,
    SquashedActor,
    Values,
    Way,
)
from sparseagent.agents.spaces import (
    DiscreteSpace,
    MultiDiscreteSpace,
    Space,
    check_kind,
    read_space,
)
from sparseagent.unsupported import UnsupportedError

#: The methods between an observation and an action; a subclass that changes one is refused.
_METHODS = (
    *("predict", "_predict", "forward", "forward_actor", "get_distribution"),
    *("_get_action_dist_from_latent", "get_action_dist_params", "extract_features"),
    *("obs_to_tensor", "unscale_action"),
)


@dataclass(frozen=True)
class Kind:
    """What policies of one structure have in common.

    Attributes:
        policy: Path of the class.
        way: How they act.
        parts: Paths of the classes of submodules that take part.
        activation: Name of the default activation in `torch.nn`.
    """

    policy: str
    way: type[Way]
    parts: Mapping[str, str] = field(default_factory=dict)
    activation: str = "ReLU"


def _actor(library: str, module: str, policy: str, way: type[Way]) -> Kind:
    path = f"{library}.{module}.policies"
    return Kind(f"{path}.{policy}", way, {"actor": f"{path}.Actor"})


_DQN, _QRDQN = "stable_baselines3.dqn.policies", "sb3_contrib.qrdqn.policies"
KINDS: Mapping[str, Kind] = {
    "actor-critic": Kind(
        "stable_baselines3.common.policies.ActorCriticPolicy", ActorCritic, activation="Tanh"
    ),
    "maskable": Kind(
        "sb3_contrib.common.maskable.policies.MaskableActorCriticPolicy",
        ActorCritic,
        activation="Tanh",
    ),
    "q-network": Kind(f"{_DQN}.DQNPolicy", Values, {"q_net": f"{_DQN}.QNetwork"}),
    "quantile": Kind(
        f"{_QRDQN}.QRDQNPolicy",
        QuantileValues,
        {"quantile_net": f"{_QRDQN}.QuantileNetwork"},
    ),
    "sac": _actor("stable_baselines3", "sac", "SACPolicy", SquashedActor),
    "tqc": _actor("sb3_contrib", "tqc", "TQCPolicy", SquashedActor),
    "crossq": _actor("sb3_contrib", "crossq", "CrossQPolicy", SquashedActor),
    "td3": _actor("stable_baselines3", "td3", "TD3Policy", DeterministicActor),
    "ars": Kind("sb3_contrib.ars.policies.ARSPolicy", Searched),
}
#: The algorithms: where their class lies, and the kind of their policies. DDPG derives from TD3.
ALGORITHMS: Mapping[str, tuple[str, str]] = {
    "PPO": ("stable_baselines3.ppo.ppo", "actor-critic"),
    "A2C": ("stable_baselines3.a2c.a2c", "actor-critic"),
    "TRPO": ("sb3_contrib.trpo.trpo", "actor-critic"),
    "MaskablePPO": ("sb3_contrib.ppo_mask.ppo_mask", "maskable"),
    "DQN": ("stable_baselines3.dqn.dqn", "q-network"),
    "QRDQN": ("sb3_contrib.qrdqn.qrdqn", "quantile"),
    "SAC": ("stable_baselines3.sac.sac", "sac"),
    "TQC": ("sb3_contrib.tqc.tqc", "tqc"),
    "CrossQ": ("sb3_contrib.crossq.crossq", "crossq"),
    "DDPG": ("stable_baselines3.ddpg.ddpg", "td3"),
    "TD3": ("stable_baselines3.td3.td3", "td3"),
    "ARS": ("sb3_contrib.ars.ars", "ars"),
}
NAMES = ", ".join(ALGORITHMS)


def read_acting(
    policy: Any,
    model: Any,
    observation_space: Any,
    action_space: Any,
    *,
    stochastic: bool,
    value: bool,
) -> Acting:
    """How a live policy acts; see `Agent.acting`."""
    algorithm = _algorithm(model)
    kind = _checked_kind(policy)
    normalised = None
    if model is not None:
        normalised = remembers_normaliser(kind, model.num_timesteps, model._last_original_obs)
    observed = policy.observation_space if observation_space is None else observation_space
    actions = read_space("action_space", policy.action_space)
    if action_space is not None:
        stated = read_space("action_space", action_space)
        check_kind("action_space", actions, stated)
        actions = stated
    return acting_of(
        policy,
        kind,
        read_space("observation_space", observed),
        actions,
        algorithm=algorithm or kind,
        stochastic=stochastic,
        value=value,
        epsilon=float(getattr(model, "exploration_rate", 0.0)),
        resample=max(0, int(getattr(model, "sde_sample_freq", -1))),
        normalised=normalised,
        kept=getattr(model, KEPT, None),
    )


def acting_of(
    policy: Any,
    kind: str,
    observation_space: Space,
    action_space: Space,
    *,
    algorithm: str,
    stochastic: bool = False,
    value: bool = False,
    epsilon: float = 0.0,
    resample: int = 0,
    normalised: bool | None = None,
    kept: Any = None,
) -> Acting:
    """How a policy with these submodules acts, live or rebuilt.

    Args:
        policy: Its submodules and attributes are those of the library.
        kind: One of `KINDS`.
        observation_space: What the network takes.
        action_space: What the environment takes.
        algorithm: What the file says.
        stochastic: Whether it should be able to sample.
        value: Whether the value network comes along.
        epsilon: Exploration of DQN.
        resample: Steps for which gSDE's noise matrix holds; 0 for ever.
        normalised: Whether it remembers a VecNormalize.
        kept: How many weights pruning has left, if the model knows it.
    """
    if value and KINDS[kind].way is not ActorCritic:
        raise ValueError(f"value: expected False for {algorithm}, which has no value network")
    way = KINDS[kind].way(policy, observation_space, stochastic=stochastic, value=value)
    if stochastic:
        head = heads.distribution(policy, kind, action_space, epsilon=epsilon, resample=resample)
    else:
        head = heads.mode(policy, kind, action_space)
    facts: dict[str, Any] = {}
    if isinstance(action_space, DiscreteSpace | MultiDiscreteSpace) and heads.starts(action_space):
        facts["quirks"] = [f"actions count from 0, as {algorithm} gives them, whatever their start"]
    return Acting(
        algorithm,
        way,
        policy,
        observation_space,
        action_space,
        head,
        normalize_images=bool(policy.normalize_images),
        normalised=normalised,
        kept=kept,
        facts=facts,
    )


def remembers_normaliser(kind: str, timesteps: Any, original: Any) -> bool | None:
    """Whether an agent was trained with a VecNormalize; None where it does not say.

    When it starts to learn, Stable-Baselines3 keeps the observation as it was before the
    VecNormalize, and none where there was no VecNormalize. Off-policy algorithms keep one always.

    Args:
        kind: One of `KINDS`.
        timesteps: The agent's `num_timesteps`.
        original: Its `_last_original_obs`, or whatever stands for one that is not None.
    """
    telling = kind in ("actor-critic", "maskable", "ars")
    if not telling or not isinstance(timesteps, int) or timesteps < 1:
        return None
    return original is not None


def _algorithm(model: Any) -> str:
    """The name of a live model's algorithm, empty where there is only a policy."""
    if model is None:
        return ""
    refuse_unready(type(model).__name__, model.policy)
    for name, (module, _) in ALGORITHMS.items():
        base = _base(model, f"{module}.{name}")
        if base is not None:
            _check_untouched("model", model, base)
            return name
    raise UnsupportedError(
        f"model: expected a model of {NAMES} or the path of its zip, got {type(model).__name__}"
    )


def _checked_kind(policy: Any) -> str:
    """The kind of a live policy that acts as its class says."""
    refuse_unready(type(policy).__name__, policy)
    for name, kind in KINDS.items():
        base = _base(policy, kind.policy)
        if base is None:
            continue
        _check_untouched("policy", policy, base)
        for path, expected in kind.parts.items():
            part = policy.get_submodule(path)
            _check_untouched(f"policy.{path}", part, _base(part, expected) or expected)
        if name == "td3" and not isinstance(list(policy.actor.mu)[-1], nn.Tanh):
            raise UnsupportedError("module 'policy.actor.mu': expected a Tanh at its end, got none")
        return name
    raise UnsupportedError(
        f"module 'policy' ({type(policy).__name__}): expected a policy of {NAMES}"
    )


def _base(thing: Any, path: str) -> type | None:
    """The class of this name among those of the object."""
    found = (b for b in type(thing).__mro__ if f"{b.__module__}.{b.__qualname__}" == path)
    return next(found, None)


def _check_untouched(path: str, thing: Any, base: type | str) -> None:
    """Refuse what acts in another way than `base`: its weights would not say so."""
    if isinstance(base, str):
        raise UnsupportedError(
            f"module '{path}' ({type(thing).__name__}): expected {base.rsplit('.', 1)[1]}"
        )
    for method in _METHODS:
        own = getattr(type(thing), method, None) is not getattr(base, method, None)
        if own or method in vars(thing):
            raise UnsupportedError(
                f"module '{path}' ({type(thing).__name__}): expected the {method} of "
                f"{base.__name__}, got one of its own"
            )
