"""Which neurons are found, who reads them, and why some cannot be removed."""

import pytest
import torch
from sb3_runs import dqn, off_policy, ppo
from stable_baselines3 import SAC, TD3
from torch import nn

from sparseagent.prune.neuron_layers import find_neurons


class Block(nn.Module):
    """A residual block: two layers, and a way around them."""

    def __init__(self, width=4):
        super().__init__()
        self.one = nn.Linear(width, 2 * width)
        self.two = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.two(torch.tanh(self.one(x)))


class Branching(nn.Module):
    """A loop over data: nothing that can be traced."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


def fixed(module):
    return {hidden.name: hidden.fixed for hidden in find_neurons(module)}


def test_a_chain():
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), nn.Linear(4, 2)
    )
    first, last = find_neurons(net)
    assert (first.name, first.fixed) == ("1.weight", "")
    assert [read.layer for read in first.reads] == [net[3]]
    values = torch.tensor([-1.0, 2.0])
    assert first.reads[0].activation(values).tolist() == [0.0, 2.0]
    assert (last.name, last.fixed) == ("3.weight", "the module returns them")


def test_functions_and_methods_are_activations():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = nn.functional.leaky_relu(self.a(x), negative_slope=0.5)
            return self.c(self.b(x).tanh())

    first, second, _ = find_neurons(Net())
    values = torch.tensor([-1.0, 2.0])
    assert first.reads[0].activation(values).tolist() == [-0.5, 2.0]
    assert torch.equal(second.reads[0].activation(values), values.tanh())


def test_a_residual_fixes_what_it_adds():
    reasons = fixed(nn.Sequential(nn.Linear(3, 4), Block(), nn.Linear(4, 2)))
    assert reasons["1.one.weight"] == ""
    assert "residual" in reasons["1.two.weight"]
    assert "residual" in reasons["0.weight"]


def test_a_norm_fixes_what_it_normalises():
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    assert "LayerNorm reads them" in fixed(net)["0.weight"]


def test_shared_layers_are_fixed():
    layer = nn.Linear(4, 4)
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), layer, nn.ReLU(), layer)
    reasons = fixed(net)
    assert "used more than once" in reasons["0.weight"]
    assert "used more than once" in reasons["2.weight"]
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    assert fixed(tied) == {"0.weight": "the layer is used more than once"}


def test_neurons_that_a_tied_layer_reads_are_fixed():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[4].weight = net[2].weight
    assert fixed(net)["0.weight"] == "a layer that is used more than once reads them"

    class Unused(nn.Module):
        """The other owner of the weight is no layer of the graph."""

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
            self.embedding = nn.Embedding(2, 4)
            self.embedding.weight = self.net[2].weight

        def forward(self, x):
            return self.net(x)

    assert fixed(Unused())["net.0.weight"] == "a layer that is used more than once reads them"


def test_a_single_layer_has_no_hidden_neurons():
    assert fixed(nn.Linear(3, 2)) == {"weight": "the module returns them"}


def test_what_cannot_be_traced_is_refused():
    with pytest.raises(ValueError, match=r"module: expected a forward that torch.fx can trace"):
        find_neurons(Branching())


def test_policies():
    assert fixed(ppo().policy) == {
        "mlp_extractor.policy_net.0.weight": "",
        "mlp_extractor.policy_net.2.weight": "",
        "action_net.weight": "the module returns them",
        "mlp_extractor.value_net.0.weight": "",
        "mlp_extractor.value_net.2.weight": "",
        "value_net.weight": "the module returns them",
    }
    policy = off_policy(SAC).policy
    found = {hidden.name: hidden for hidden in find_neurons(policy)}
    last = found["actor.latent_pi.2.weight"]
    assert [read.layer for read in last.reads] == [policy.actor.mu, policy.actor.log_std]
    twin = found["critic.qf1.0.weight"].twin
    assert twin.layer is policy.critic_target.qf1[0]
    assert found["critic.qf1.0.weight"].group == found["critic.qf0.0.weight"].group
    assert found["critic.qf1.0.weight"].critic
    assert not last.critic
    policy = off_policy(TD3).policy
    found = {hidden.name: hidden for hidden in find_neurons(policy)}
    assert found["actor.mu.2.weight"].twin.layer is policy.actor_target.mu[2]
    policy = dqn().policy
    assert find_neurons(policy)[0].twin.layer is policy.q_net_target.q_net[0]


def test_the_noise_of_gsde_fixes_the_last_hidden_layer():
    reasons = fixed(ppo(use_sde=True).policy)
    assert reasons["mlp_extractor.policy_net.0.weight"] == ""
    assert reasons["mlp_extractor.policy_net.2.weight"] == "the module returns them"
