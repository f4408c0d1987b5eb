"""Removal of neurons from Stable-Baselines3 agents: training, saving and converting go on."""

import numpy as np
import pytest
import torch
from sb3_runs import dqn, off_policy, ppo
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from torch import nn

import sparseagent as sa
from sparseagent.prune import (
    NeuronContribution,
    NeuronDormancy,
    NeuronL2,
    NeuronTaylor,
    remove_dead_neurons,
    remove_neurons,
)

OBSERVATIONS = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
MAKERS = {
    "ppo": (PPO, ppo),
    "dqn": (DQN, dqn),
    "sac": (SAC, lambda: off_policy(SAC)),
    "td3": (TD3, lambda: off_policy(TD3)),
    "ddpg": (DDPG, lambda: off_policy(DDPG)),
}


def actions(model):
    with torch.no_grad():
        return model.policy._predict(torch.from_numpy(OBSERVATIONS), deterministic=True).numpy()


def is_optimizer(value):
    return isinstance(value, torch.optim.Optimizer)


def widths(module):
    return [i.out_features for i in module.modules() if isinstance(i, nn.Linear)]


@pytest.mark.parametrize("name", MAKERS)
def test_training_saving_and_loading_go_on(name, tmp_path):
    kind, make = MAKERS[name]
    model = make()
    model.learn(80)
    remove_neurons(model, NeuronL2(), amount=0.25, critics=True)
    policy = model.policy
    optimizers = {id(o): o for m in policy.modules() for o in vars(m).values() if is_optimizer(o)}
    held = [p for o in optimizers.values() for g in o.param_groups for p in g["params"]]
    alive = {id(p) for p in policy.parameters()}
    assert held
    assert all(id(p) in alive for p in held)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    model.learn(80, reset_num_timesteps=False)
    changed = [n for n, value in policy.state_dict().items() if not torch.equal(value, before[n])]
    assert len(changed) >= len(held)
    model.save(tmp_path / "model.zip")
    loaded = kind.load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    assert np.array_equal(actions(loaded), actions(model))
    loaded.learn(40, reset_num_timesteps=False)


def test_ppo_shrinks_the_actor_alone_and_remembers_it():
    model = ppo()
    remove_neurons(model, NeuronL2(), amount=0.5)
    assert widths(model.policy.mlp_extractor.policy_net) == [8, 8]
    assert widths(model.policy.mlp_extractor.value_net) == [16, 16]
    assert model.policy_kwargs["net_arch"] == {"pi": [8, 8], "vf": [16, 16]}
    assert model.policy.mlp_extractor.latent_dim_pi == 8
    assert model.policy.action_net.in_features == 8


def test_twin_critics_stay_equally_wide():
    model = off_policy(SAC)
    with torch.no_grad():
        model.policy.critic.qf0[0].weight[:5] = 0.0
        model.policy.critic.qf1[0].weight[:2] = 0.0
        for name in ("qf0", "qf1"):
            source, copy = (getattr(model.policy, f"critic{t}") for t in ("", "_target"))
            getattr(copy, name)[0].load_state_dict(getattr(source, name)[0].state_dict())
    q = [torch.from_numpy(OBSERVATIONS), torch.zeros(50, 2)]
    before = [value.detach() for value in model.policy.critic(*q)]
    remove_dead_neurons(model, critics=True)
    assert widths(model.policy.critic.qf0) == widths(model.policy.critic.qf1) == [14, 16, 1]
    assert widths(model.policy.critic_target) == [14, 16, 1, 14, 16, 1]
    for one, two in zip(model.policy.critic(*q), before, strict=True):
        torch.testing.assert_close(one, two)
    with pytest.raises(ValueError, match=r"layers: expected 'critic.qf1.0.weight' too"):
        remove_neurons(model, NeuronL2(), amount=0.5, layers=["critic.qf0.0"])


@pytest.mark.parametrize("name", MAKERS)
def test_dead_neurons_change_no_action(name):
    model = MAKERS[name][1]()
    for layer in model.policy.modules():
        if isinstance(layer, nn.Linear) and layer.out_features == 16:
            with torch.no_grad():
                layer.weight[[1, 4, 9]] = 0.0
    before = actions(model)
    removed = remove_dead_neurons(model.policy)
    assert all(kept.numel() == 13 for kept in removed.rows.values())
    np.testing.assert_allclose(actions(model), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_activations_of_actor_and_critics_are_seen(name):
    model = MAKERS[name][1]()
    remove_neurons(model, NeuronContribution(), amount=0.5, batch=OBSERVATIONS, critics=True)
    hidden = [w for w in widths(model.policy) if w in (8, 16)]
    assert set(hidden) == {8}


def test_dormant_neurons_of_an_agent_go():
    model = dqn(policy_kwargs={"net_arch": [16, 16], "activation_fn": nn.ReLU})
    with torch.no_grad():
        for net in (model.policy.q_net, model.policy.q_net_target):
            net.q_net[0].bias[:6] = -100.0
    before = actions(model)
    remove_neurons(model, NeuronDormancy(), below=0.0, batch=OBSERVATIONS, layers=["q_net.q_net.0"])
    assert model.policy_kwargs["net_arch"] == [10, 16]
    assert np.array_equal(actions(model), before)


def test_taylor_works_after_an_update():
    model = ppo()
    model.learn(32)
    remove_neurons(model, NeuronTaylor(), amount=0.25)
    assert widths(model.policy.mlp_extractor.policy_net) == [12, 12]


def test_a_shrunk_agent_converts():
    model = A2C("MlpPolicy", ppo().get_env(), policy_kwargs={"net_arch": [16, 16]}, device="cpu")
    remove_neurons(model, NeuronL2(), amount=0.5)
    act = sa.compile(sa.from_sb3(model))
    expected = model.predict(OBSERVATIONS, deterministic=True)[0]
    np.testing.assert_allclose(act.predict(OBSERVATIONS)[0], expected, rtol=1e-5, atol=1e-6)
