"""Layers go where a residual or an identity allows it, and nowhere else."""

import pytest
import torch
from sb3_runs import ppo
from test_neuron_layers import Block
from torch import nn

from sparseagent.prune import remove_layer


def data(width=4):
    return torch.randn(16, width, generator=torch.Generator().manual_seed(3))


def test_a_residual_block_leaves_the_way_around_it():
    net = nn.Sequential(nn.Linear(4, 4), Block(), Block(), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(net.parameters())
    net(data()).sum().backward()
    optimizer.step()
    with torch.no_grad():
        net[1].two.weight.zero_()
        net[1].two.bias.zero_()
    before = net(data())
    remove_layer(net, "1", optimizers=optimizer)
    assert isinstance(net[1], nn.Identity)
    assert torch.equal(net(data()), before)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in net.parameters()}
    assert {id(p) for p in optimizer.state} == held
    net(data()).sum().backward()
    optimizer.step()


def test_what_a_residual_block_adds_is_lost():
    net = nn.Sequential(Block(), nn.Linear(4, 2))
    expected = net[1](data())
    remove_layer(net, "0")
    assert torch.equal(net(data()), expected)


def test_an_identity_goes():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(4))
        net[0].bias.zero_()
    before = net(data())
    remove_layer(net, "0")
    assert torch.equal(net(data()), before)
    assert [type(child) for child in net] == [nn.Identity, nn.Tanh, nn.Linear]


def test_two_layers_without_activation_become_one():
    net = nn.Sequential(nn.Linear(4, 9), nn.Identity(), nn.Linear(9, 3), nn.Tanh(), nn.Linear(3, 2))
    optimizer = torch.optim.Adam(net.parameters())
    net(data()).sum().backward()
    optimizer.step()
    before = net(data())
    remove_layer(net, "0", optimizers=optimizer)
    torch.testing.assert_close(net(data()), before, rtol=1e-5, atol=1e-6)
    assert (net[2].in_features, net[2].out_features) == (4, 3)
    assert not optimizer.state[net[2].weight]["exp_avg"].any()
    assert optimizer.state[net[2].weight]["exp_avg"].shape == (3, 4)
    net(data()).sum().backward()
    optimizer.step()


def test_everything_else_says_why():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), Block(), nn.Sequential(nn.Tanh()))
    with pytest.raises(ValueError, match="a residual adds them to other values"):
        remove_layer(net, "0")
    with pytest.raises(ValueError, match="an activation lies between"):
        remove_layer(net, "2.one")
    with pytest.raises(ValueError, match=r"expected a module that computes x \+ f\(x\), got '3'"):
        remove_layer(net, "3")
    with pytest.raises(ValueError, match=r"expected one of 0, 1, 2, 2\.one, 2\.two, 3, 3\.0"):
        remove_layer(net, "9")
    open_end = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False))
    with pytest.raises(ValueError, match="no bias to take in its own"):
        remove_layer(open_end, "0")
    with pytest.raises(ValueError, match="module: expected a plain module, got a policy"):
        remove_layer(ppo().policy, "mlp_extractor.policy_net.0")
