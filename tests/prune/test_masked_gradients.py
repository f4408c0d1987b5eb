"""Gradients of pruned weights, zeroed before the loop clips their norm."""

import copy

import pytest
import torch
from sb3_runs import off_policy, ppo
from sparsified import sparsify, train_step
from stable_baselines3 import SAC
from torch import nn

from sparseagent.prune import CosineDrop, Cubic, Magnitude, OneShot, RandomGrowth, Sparsifier


def backward(net):
    net.zero_grad()
    net(torch.ones(5, net[0].in_features)).square().sum().backward()


@pytest.mark.parametrize("masked", [False, True])
def test_only_kept_weights_count_in_the_norm(make_net, masked):
    net = make_net(4, 8, 2)
    backward(net)
    dense = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    sparsifier = sparsify(net, OneShot(to=0.5), mask_gradients=masked)
    sparsifier.attach(torch.optim.SGD(net.parameters(), lr=0.1))
    sparsifier.step(0.0)
    backward(net)
    for name, mask in sparsifier.masks.items():
        gradient = net.get_parameter(name).grad
        assert gradient[mask].any()
        assert bool(gradient[~mask].any()) != masked
    assert dense["0.weight"].all()
    sparsifier.detach()
    backward(net)
    assert net[0].weight.grad[~sparsifier.masks["0.weight"]].any()


def test_the_present_masks_count(make_net):
    net = make_net(4, 8, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sparsifier = sparsify(net, Cubic(to=0.8), mask_gradients=True)
    sparsifier.attach(optimizer, total_updates=20)
    for index in range(20):
        masks = sparsifier.masks
        train_step(net, optimizer, index)
        for name, mask in masks.items():
            assert not net.get_parameter(name).grad[~mask].any()
    assert sparsifier.finished


def test_without_clipping_training_is_the_same(make_net):
    def run(masked):
        net = make_net(4, 8, 2)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        sparsifier = sparsify(net, Cubic(to=0.8), mask_gradients=masked)
        sparsifier.attach(optimizer, total_updates=30)
        for index in range(30):
            train_step(net, optimizer, index)
        return net.state_dict()

    plain, masked = run(False), run(True)
    assert all(torch.equal(plain[name], masked[name]) for name in plain)


def test_copies_are_free_of_it(make_net):
    net = make_net(4, 8, 2)
    sparsifier = sparsify(net, OneShot(to=0.5), mask_gradients=True)
    sparsifier.attach(torch.optim.SGD(net.parameters(), lr=0.1))
    sparsifier.step(0.0)
    twin = copy.deepcopy(net)
    backward(twin)
    assert twin[0].weight.grad[~sparsifier.masks["0.weight"]].any()


@pytest.mark.parametrize("make", [ppo, lambda: off_policy(SAC)], ids=["ppo", "sac"])
def test_with_stable_baselines(make):
    model = make()
    sparsifier = Sparsifier(
        model.policy, score=Magnitude(), schedule=Cubic(to=0.9), mask_gradients=True
    )
    model.learn(160, callback=sparsifier.callback())
    assert sparsifier.finished
    for name, mask in sparsifier.masks.items():
        if name.startswith(("mlp_extractor", "action_net", "critic")):
            assert not model.policy.get_parameter(name).grad[~mask].any()


def test_growth_needs_the_gradients():
    with pytest.raises(ValueError, match="mask_gradients: expected False with grow, which needs"):
        sparsify(
            nn.Linear(4, 2),
            grow=RandomGrowth(0),
            drop=CosineDrop(0.3),
            mask_gradients=True,
        )
