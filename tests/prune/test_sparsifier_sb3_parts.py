"""The parts of a Stable-Baselines3 policy: actor, critic, features extractors."""

import pytest
import torch
from sb3_runs import (
    Drift,
    kept,
    off_policy,
    ppo,
    small,
    sparsify,
    weights,
)
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3

from sparseagent import prune
from sparseagent.prune import Cubic, OneShot, effective_weights


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_on_policy_prunes_the_actor_only(algorithm):
    model = algorithm("MlpPolicy", Drift(), n_steps=64, **small())
    sparsifier = sparsify(model, OneShot(to=0.9))
    actor = (
        "mlp_extractor.policy_net.0.weight",
        "mlp_extractor.policy_net.2.weight",
        "action_net.weight",
    )
    assert sparsifier.parts == {"actor": actor}
    sparsifier.step(1.0)
    assert kept(sparsifier, "actor") == round(0.1 * (3 * 16 + 16 * 16 + 16 * 2))
    assert model.policy.value_net.weight.all()
    assert model.policy.mlp_extractor.value_net[0].weight.all()


def test_on_policy_critic_where_asked():
    model = ppo()
    sparsifier = sparsify(model, OneShot(to=0.9), critic_sparsity=0.5)
    assert sparsifier.parts["critic"] == (
        "mlp_extractor.value_net.0.weight",
        "mlp_extractor.value_net.2.weight",
        "value_net.weight",
    )
    sparsifier.step(1.0)
    assert sparsifier.sparsity("actor") == pytest.approx(0.9, abs=2e-3)
    assert kept(sparsifier, "critic") == round(0.5 * (3 * 16 + 16 * 16 + 16))


def test_sac_parts():
    sparsifier = sparsify(off_policy(SAC), OneShot(to=0.9))
    assert sparsifier.final_sparsity == {"actor": 0.9, "critic": 0.8}
    assert sparsifier.parts["actor"] == (
        "actor.latent_pi.0.weight",
        "actor.latent_pi.2.weight",
        "actor.mu.weight",
    )
    critic = [f"critic.qf{i}.{j}.weight" for i in (0, 1) for j in (0, 2, 4)]
    assert list(sparsifier.parts["critic"]) == critic
    sparsifier.step(1.0)
    assert kept(sparsifier, "actor") == round(0.1 * weights(sparsifier, "actor"))
    assert kept(sparsifier, "critic") == round(0.2 * weights(sparsifier, "critic"))
    assert sparsifier.module.actor.log_std.weight.all()
    actor = [sparsifier.masks[name] for name in sparsifier.parts["actor"]]
    assert 0 < effective_weights(actor) <= kept(sparsifier, "actor")


def test_the_head_of_the_standard_deviation_where_asked():
    sparsifier = sparsify(off_policy(SAC), layers=["actor"])
    assert "actor.log_std.weight" in sparsifier.parts["actor"]
    assert "critic" not in sparsifier.parts


def test_the_critic_follows_the_same_ramp():
    sparsifier = sparsify(off_policy(TD3), Cubic(to=0.9), critic_sparsity=0.6)
    for progress in (0.3, 0.5, 0.7, 1.0):
        sparsifier.step(progress)
        share = Cubic(to=0.9)(progress) / 0.9
        total = weights(sparsifier, "critic")
        assert kept(sparsifier, "critic") == round((1 - 0.6 * share) * total)


@pytest.mark.parametrize("critic_sparsity", [None, 0.0])
def test_a_dense_critic(critic_sparsity):
    model = off_policy(DDPG)
    sparsifier = sparsify(model, OneShot(to=0.9), critic_sparsity=critic_sparsity)
    assert list(sparsifier.parts) == ["actor"]
    sparsifier.step(1.0)
    assert model.policy.critic.qf0[0].weight.all()


def test_a_little_sparsity_leaves_the_critic_dense():
    assert list(sparsify(off_policy(TD3), OneShot(to=0.1)).parts) == ["actor"]


def test_sde_policies_have_their_parts():
    on, off = ppo(use_sde=True), off_policy(SAC, use_sde=True)
    assert len(sparsify(on).parts["actor"]) == 3
    assert len(sparsify(off).parts["actor"]) == 3


class Encoder(torch.nn.Module):
    """A features extractor with a layer to prune."""

    def __init__(self, observation_space):
        super().__init__()
        self.features_dim = 8
        self._observation_space = observation_space
        self.linear = torch.nn.Linear(3, 8)

    def forward(self, observation):
        return torch.tanh(self.linear(observation))


@pytest.mark.parametrize("share", [True, False])
def test_features_extractors_of_actor_and_critic(share):
    def options():
        encoder = {"features_extractor_class": Encoder, "share_features_extractor": share}
        return {**small()["policy_kwargs"], **encoder}

    def sparsified():
        return sparsify(ppo(policy_kwargs=options()))

    if share:
        beyond = r"24 of the 440 weights .* features_extractor.linear \(Linear\)"
        with pytest.warns(prune.PruningWarning, match=beyond):
            on = sparsified()
    else:
        on = sparsified()
    assert ("features_extractor.linear.weight" in on.parts["actor"]) == (not share)
    named = sparsify(ppo(policy_kwargs=options()), layers=["features_extractor"])
    assert named.parts == {"actor": ("features_extractor.linear.weight",)}
    off = sparsify(off_policy(TD3, policy_kwargs=options()), OneShot(to=0.8))
    assert "actor.features_extractor.linear.weight" in off.parts["actor"]
    of_critic = "critic.features_extractor.linear.weight"
    assert (of_critic in off.parts["critic"]) == (not share)
    off.step(1.0)
    for target in (off.module.actor_target, off.module.critic_target):
        assert not target.features_extractor.linear.weight.all()
