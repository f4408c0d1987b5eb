"""Agents of rsl_rl, rl_games, skrl and Tianshou give their own deterministic actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import sparseagent as sa
from sparseagent import prune
from sparseagent.convert import NormaliserWarning

OBSERVED = spaces.Box(-np.inf, np.inf, (5,), np.float32)
BOX = spaces.Box(np.array([-0.5, -2.0, 0.1], np.float32), np.array([1.5, 0.5, 0.3], np.float32))
SEEN = np.random.default_rng(0).normal(0, 3, (64, 5)).astype(np.float32)
# Old code of theirs, on import and in use.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def assert_same(policy: sa.SparsePolicy, expected: Any, seen: Any = SEEN) -> None:
    actions, _ = sa.compile(policy, tune=0).predict(seen, deterministic=True)
    wanted = np.asarray(expected)
    if wanted.dtype.kind == "f":
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(actions, wanted, rtol=0, atol=1e-5 * scale)
    else:
        np.testing.assert_array_equal(actions, wanted)


def actor_parts(module: nn.Module) -> dict[str, tuple[str, ...]]:
    schedule = prune.OneShot(to=0.5)
    return prune.Sparsifier(module, score=prune.Magnitude(), schedule=schedule).parts


# rsl_rl


def rsl_model(distribution: Any = None, *, normalised: bool = True, rnn: bool = False) -> Any:
    pytest.importorskip("tensordict")
    models = pytest.importorskip("rsl_rl.models")
    torch.manual_seed(0)
    kind = models.RNNModel if rnn else models.MLPModel
    groups = {"actor": ["policy", "command"]}
    sizes = {"hidden_dims": (24, 16), "obs_normalization": normalised}
    model = kind(rsl_groups(SEEN[:4]), groups, "actor", 3, distribution_cfg=distribution, **sizes)
    if normalised:
        model.obs_normalizer._mean.normal_()
        model.obs_normalizer._std.uniform_(0.0, 2.0)
    return model.eval()


def rsl_groups(seen: Any) -> Any:
    tensordict = pytest.importorskip("tensordict")
    x = torch.from_numpy(seen)
    return tensordict.TensorDict({"command": x[:, 3:], "policy": x[:, :3]}, batch_size=len(seen))


RSL = "rsl_rl.modules.distribution."
RSL_DISTRIBUTIONS: dict[str, Any] = {
    "none": None,
    "gaussian": {"class_name": f"{RSL}GaussianDistribution", "init_std": 0.7},
    "log": {"class_name": f"{RSL}GaussianDistribution", "std_type": "log", "init_std": 0.7},
    "two rows": {"class_name": f"{RSL}HeteroscedasticGaussianDistribution", "std_type": "log"},
}


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("case", RSL_DISTRIBUTIONS)
def test_rsl_rl(case: str, normalised: bool) -> None:
    model = rsl_model(RSL_DISTRIBUTIONS[case], normalised=normalised)
    with torch.no_grad():
        expected = model(rsl_groups(SEEN)).numpy()
    policy = sa.from_agent(model)
    assert_same(policy, expected)
    assert policy.metadata["observation_groups"] == ["policy", "command"]
    assert policy.metadata["vecnormalize"] == ("built in" if normalised else "none")
    if normalised:  # eps beside the root, no clip, float32: to the bit
        with torch.no_grad():
            wanted = model.obs_normalizer(torch.from_numpy(SEEN)).numpy()
        np.testing.assert_array_equal(policy.observation.apply(SEEN), wanted)
    assert actor_parts(model) == {"actor": tuple(f"mlp.{n}.weight" for n in (0, 2, 4))}


def test_rsl_rl_distributions() -> None:
    head: Any = sa.from_agent(rsl_model(RSL_DISTRIBUTIONS["gaussian"]), stochastic=True).head
    np.testing.assert_allclose(head.log_std, np.log(np.full(3, 0.7)), rtol=1e-6)
    two = sa.from_agent(rsl_model(RSL_DISTRIBUTIONS["two rows"]), stochastic=True)
    assert list(two.program.outputs) == ["action", "log_std"]
    with pytest.raises(ValueError, match="stochastic: expected False for a model without"):
        sa.from_agent(rsl_model(), stochastic=True)
    with pytest.raises(ValueError, match="value: expected False for rsl_rl"):
        sa.from_agent(rsl_model(), value=True)
    with pytest.raises(ValueError, match="normaliser: expected None for an agent that has one"):
        sa.from_agent(rsl_model(), normaliser=False)


def test_rsl_rl_memory_and_beta_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got RNNModel with a LSTM at 'policy.rnn.rnn'"):
        sa.from_agent(rsl_model(rnn=True))
    beta = {"class_name": f"{RSL}BetaDistribution"}
    with pytest.raises(TypeError, match=r"module 'distribution' \(BetaDistribution\): expected"):
        sa.from_agent(rsl_model(beta))


# rl_games

CONTINUOUS = {
    "mu_activation": "None",
    "sigma_activation": "None",
    "mu_init": {"name": "default"},
    "sigma_init": {"name": "const_initializer", "val": -0.7},
    "fixed_sigma": True,
}


def games_model(space: Any, *, layer_norm: bool = False, d2rl: bool = False, **more: Any) -> Any:
    builder = pytest.importorskip("rl_games.algos_torch.network_builder")
    models = pytest.importorskip("rl_games.algos_torch.models")
    torch.manual_seed(0)
    names = {"continuous": "ContinuousLogStd", "discrete": "", "multi_discrete": "MultiDiscrete"}
    kind = next(iter(space))
    network = builder.A2CBuilder()
    units = {"units": [24, 16], "activation": "elu", "d2rl": d2rl, "initializer": _DEFAULT}
    network.load({"mlp": units, "space": space, "separate": False, **more})
    if layer_norm:
        network.params["normalization"] = "layer_norm"
    actions = {"continuous": 3, "discrete": 4, "multi_discrete": [3, 2]}[kind]
    model = getattr(models, f"ModelA2C{names[kind]}")(network).build(
        {
            "actions_num": actions,
            "input_shape": (5,),
            "normalize_input": True,
            "normalize_value": True,
            "value_size": 1,
        }
    )
    model.running_mean_std.running_mean.normal_()
    model.running_mean_std.running_var.uniform_(0.1, 2.0)
    model.value_mean_std.running_mean.fill_(3.0)
    model.value_mean_std.running_var.fill_(7.0)
    return model.eval()


_DEFAULT = {"name": "default"}
GAMES: dict[str, dict[str, Any]] = {
    "continuous": {"space": {"continuous": CONTINUOUS}},
    "computed sigma": {"space": {"continuous": {**CONTINUOUS, "fixed_sigma": False}}},
    "layer norm": {"space": {"continuous": CONTINUOUS}, "layer_norm": True},
    "d2rl": {"space": {"continuous": CONTINUOUS}, "d2rl": True},
    "separate critic": {"space": {"continuous": CONTINUOUS}, "separate": True},
    "discrete": {"space": {"discrete": {}}},
    "multi_discrete": {"space": {"multi_discrete": {}}},
}


@pytest.mark.parametrize("case", GAMES)
def test_rl_games(case: str) -> None:
    model = games_model(**GAMES[case])
    given = {"is_train": False, "prev_actions": None, "obs": torch.from_numpy(SEEN.copy())}
    with torch.no_grad():
        found = model({**given, "rnn_states": None})
    if "mus" in found:
        expected: Any = found["mus"].numpy()
    elif case == "discrete":
        expected = found["logits"].argmax(1).numpy()
    else:
        expected = torch.stack([part.argmax(1) for part in found["logits"]], 1).numpy()
    policy = sa.from_agent(model, value=True)
    assert_same(policy, expected)
    with torch.no_grad():
        wanted = model.norm_obs(torch.from_numpy(SEEN)).numpy()
    np.testing.assert_array_equal(policy.observation.apply(SEEN), wanted)
    value = sa.compile(policy, tune=0).outputs(SEEN)["value"]
    np.testing.assert_allclose(value, found["values"], rtol=0, atol=1e-4)
    assert sa.from_agent(model, stochastic=True).head.samples


def test_rl_games_players_rescale() -> None:
    model = games_model(**GAMES["continuous"])
    with torch.no_grad():
        mu = model.a2c_network({"obs": model.norm_obs(torch.from_numpy(SEEN))})[0].numpy()
    low, high = BOX.low, BOX.high
    expected = np.clip(mu * 4, -1, 1) * ((high - low) / 2) + (high + low) / 2
    with torch.no_grad():
        model.a2c_network.mu.weight *= 4
        model.a2c_network.mu.bias *= 4
    assert_same(sa.from_agent(model, action_space=BOX), expected)
    parts = actor_parts(model)["actor"]
    assert parts[-1] == "a2c_network.mu.weight"
    assert not any("value" in name for name in parts)


# skrl


def skrl_agent(*, clip: bool = False, kind: str = "Gaussian", normalised: bool = True) -> Any:
    models = pytest.importorskip("skrl.models.torch")
    scaler = pytest.importorskip("skrl.resources.preprocessors.torch").RunningStandardScaler
    torch.manual_seed(0)
    mixin, space = getattr(models, f"{kind}Mixin"), BOX
    options: dict[str, Any] = {}
    if kind == "Gaussian":
        options = {"clip_actions": clip, "clip_mean_actions": clip}
    elif kind == "Deterministic":
        options = {"clip_actions": clip}
    elif kind == "Categorical":
        space = spaces.Discrete(4)  # type: ignore[assignment]
    out = 4 if kind == "Categorical" else 3

    class Policy(mixin, models.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            spaces_of = {"observation_space": OBSERVED, "state_space": None}
            models.Model.__init__(self, **spaces_of, action_space=space, device="cpu")
            mixin.__init__(self, **options)
            self.net = nn.Sequential(nn.Linear(5, 24), nn.ELU(), nn.Linear(24, out))
            self.log_std_parameter = nn.Parameter(torch.full((out,), -0.5))

        def compute(self, inputs: Any, role: str = "") -> Any:
            return self.net(inputs["observations"]), {"log_std": self.log_std_parameter}

    agent = type("PPO", (), {"__module__": "skrl.agents.torch.ppo"})()
    agent.policy, agent.value = Policy(), None
    agent._observation_preprocessor = None
    if normalised:
        norm = scaler(size=OBSERVED, device="cpu")
        norm.running_mean = torch.randn(5).double()
        norm.running_variance = torch.rand(5).double() + 0.1
        agent._observation_preprocessor = norm
    return agent


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("kind", ["Gaussian", "Deterministic", "Categorical"])
def test_skrl(kind: str, clip: bool, normalised: bool) -> None:
    agent = skrl_agent(clip=clip, kind=kind, normalised=normalised)
    x = torch.from_numpy(SEEN)
    if normalised:
        x = agent._observation_preprocessor(x)
    with torch.no_grad():
        action, found = agent.policy.act({"observations": x}, role="policy")
    expected = found.get("mean_actions", action)
    if kind == "Categorical":
        expected = found["net_output"].argmax(1)
    policy = sa.from_agent(agent)
    assert_same(policy, expected.numpy())
    if normalised:
        np.testing.assert_array_equal(policy.observation.apply(SEEN), x.numpy())
    assert actor_parts(agent.policy)["actor"] == ("net.0.weight", "net.2.weight")


def test_skrl_models_alone_do_not_know_their_scaler() -> None:
    agent = skrl_agent(normalised=False)
    with pytest.warns(NormaliserWarning, match="nothing says whether its training normalised"):
        sa.from_agent(agent.policy)
    head: Any = sa.from_agent(agent, stochastic=True).head
    np.testing.assert_array_equal(head.log_std, np.full(3, -0.5, np.float32))
    assert head.log_std_range == (-20, 2)
    agent._observation_preprocessor = nn.Identity()
    with pytest.raises(TypeError, match="observation_preprocessor: expected RunningStandardScaler"):
        sa.from_agent(agent)


# Tianshou


def tianshou_policy(kind: str, **options: Any) -> Any:
    pytest.importorskip("tianshou")
    from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.modelfree.reinforce import (
        DiscreteActorPolicy,
        ProbabilisticActorPolicy,
    )
    from tianshou.algorithm.modelfree.sac import SACPolicy
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import (
        ContinuousActorDeterministic,
        ContinuousActorProbabilistic,
    )
    from tianshou.utils.net.discrete import DiscreteActor

    torch.manual_seed(0)
    discrete = kind in ("dqn", "discrete")
    space = spaces.Discrete(4) if discrete else BOX
    both = {"action_space": space, "observation_space": OBSERVED}
    mode = {"deterministic_eval": True}  # the default plays samples
    values = {"action_shape": 4} if kind == "dqn" else {}
    net = Net(state_shape=5, hidden_sizes=(24, 16), **values)
    if kind == "dqn":
        return DiscreteQLearningPolicy(model=net, **both)
    if kind == "discrete":
        return DiscreteActorPolicy(
            actor=DiscreteActor(preprocess_net=net, action_shape=4), **mode, **both
        )
    shape = {"preprocess_net": net, "action_shape": (3,)}
    if kind == "deterministic":
        actor: Any = ContinuousActorDeterministic(**shape)
        return ContinuousDeterministicPolicy(actor=actor, exploration_noise=None, **both, **options)
    actor = ContinuousActorProbabilistic(**shape, unbounded=True, conditioned_sigma=kind == "sac")
    if kind == "sac":
        return SACPolicy(actor=actor, **both)
    from torch.distributions import Independent, Normal

    return ProbabilisticActorPolicy(
        actor=actor, dist_fn=lambda x: Independent(Normal(*x), 1), **mode, **both, **options
    )


TIANSHOU: dict[str, tuple[str, dict[str, Any]]] = {
    "dqn": ("dqn", {}),
    "discrete": ("discrete", {}),
    "sac": ("sac", {}),
    "td3": ("deterministic", {}),
    "ppo": ("probabilistic", {}),
    "ppo tanh": ("probabilistic", {"action_bound_method": "tanh"}),
    "ppo unscaled": ("probabilistic", {"action_scaling": False}),
    "ppo free": ("probabilistic", {"action_scaling": False, "action_bound_method": None}),
}


@pytest.mark.parametrize("case", TIANSHOU)
def test_tianshou(case: str) -> None:
    kind, options = TIANSHOU[case]
    policy = tianshou_policy(kind, **options).eval()
    batch = pytest.importorskip("tianshou.data").Batch(obs=SEEN, info={})
    with torch.no_grad():
        acts = policy(batch).act
    expected = policy.map_action(acts if isinstance(acts, np.ndarray) else acts.numpy())
    converted = sa.from_agent(policy, normaliser=False)
    assert_same(converted, expected)
    part = "q_net" if kind == "dqn" else "actor"
    assert list(actor_parts(policy)) == [part]
    with pytest.warns(NormaliserWarning):
        sa.from_agent(policy)
