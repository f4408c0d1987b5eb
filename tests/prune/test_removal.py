"""Removal of neurons from plain modules: outputs, optimizers, target networks, refusals."""

import copy

import pytest
import torch
from sparsified import train_step
from torch import nn

from sparseagent.prune import (
    Hidden,
    NeuronContribution,
    NeuronDormancy,
    NeuronL1,
    NeuronTaylor,
    Top,
    remove_dead_neurons,
    remove_neurons,
)


def shapes(net):
    return [list(child.weight.shape) for child in net.modules() if isinstance(child, nn.Linear)]


@torch.no_grad()
def silence(net, layer, reader, neurons):
    """What a mask of rows and of the next layer's columns does."""
    net[layer].weight[neurons] = 0.0
    net[reader].weight[:, neurons] = 0.0


def batch(net, count=64, seed=1):
    return torch.randn(count, net[0].in_features, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.SiLU])
def test_the_shrunk_module_equals_the_masked_one(make_net, activation):
    net = make_net(5, 12, 9, 3, activation=activation)
    silence(net, 0, 2, [0, 3, 7])
    silence(net, 2, 4, [8])
    x = batch(net)
    before = net(x)
    removed = remove_dead_neurons(net)
    assert shapes(net) == [[9, 5], [8, 9], [3, 8]]
    assert removed.rows["0.weight"].tolist() == [1, 2, 4, 5, 6, 8, 9, 10, 11]
    assert removed.columns["2.weight"].tolist() == removed.rows["0.weight"].tolist()
    assert removed.rows["2.weight"].tolist() == [*range(8)]
    assert (net[0].out_features, net[2].in_features, net[2].out_features) == (9, 9, 8)
    # Sums over fewer terms may round differently.
    torch.testing.assert_close(net(x), before, rtol=1e-6, atol=1e-6)


def test_constants_are_folded_by_hand():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
        net[0].bias.copy_(torch.tensor([0.5, 3.0]))
        net[2].weight.copy_(torch.tensor([[4.0, 5.0]]))
        net[2].bias.fill_(1.0)
    remove_dead_neurons(net)
    assert torch.equal(net[0].weight, torch.tensor([[1.0, 2.0]]))
    assert torch.equal(net[0].bias, torch.tensor([0.5]))
    assert torch.equal(net[2].weight, torch.tensor([[4.0]]))
    assert torch.equal(net[2].bias, torch.tensor([16.0]))  # 1 + 5 * relu(3)


def test_removal_runs_through_to_the_end(make_net):
    """A neuron that feeds only the dead is dead, and so is one that only constants feed."""
    net = make_net(3, 4, 4, 4, 2)
    with torch.no_grad():
        net[0].weight[1] = 0.0  # constant; neuron 2 of the next layer reads nothing else
        net[2].weight[2] = torch.tensor([0.0, 1.0, 0.0, 0.0])
        net[6].weight[:, 3] = 0.0  # unread; neuron 0 of the layer before feeds nothing else
        net[4].weight[:3, 0] = 0.0
    x = batch(net)
    before = net(x)
    removed = remove_dead_neurons(net)
    assert shapes(net) == [[3, 3], [2, 3], [3, 2], [2, 3]]
    assert removed.rows["2.weight"].tolist() == [1, 3]
    torch.testing.assert_close(net(x), before, rtol=1e-6, atol=1e-6)


def test_a_constant_stays_where_no_bias_can_take_it():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[0].weight[2] = 0.0
    assert not remove_dead_neurons(net).rows
    with torch.no_grad():
        net[2].weight[:, 2] = 0.0
    assert remove_dead_neurons(net).rows["0.weight"].tolist() == [0, 1, 3]


def test_a_layer_keeps_one_neuron(make_net):
    net = make_net(3, 4, 2)
    with torch.no_grad():
        net[0].weight.zero_()
    before = net(batch(net))
    remove_dead_neurons(net)
    assert shapes(net) == [[1, 3], [2, 1]]
    torch.testing.assert_close(net(batch(net)), before)


def test_nothing_dead_changes_nothing(make_net):
    net = make_net(3, 4, 2)
    parameters = list(net.parameters())
    removed = remove_dead_neurons(net)
    assert not removed.rows
    assert not removed.columns
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))


def test_the_lowest_scores_go(make_net):
    net = make_net(3, 8, 6, 2)
    weight, norms = net[0].weight.detach().clone(), net[0].weight.abs().sum(dim=1)
    removed = remove_neurons(net, NeuronL1(), amount=0.25)
    best = norms.topk(6).indices.sort().values
    assert torch.equal(removed.rows["0.weight"], best)
    assert torch.equal(net[0].weight, weight[best])
    assert shapes(net) == [[6, 3], [4, 6], [2, 4]]


def test_below_a_threshold_and_by_name(make_net):
    net = make_net(3, 8, 8, 2, activation=nn.ReLU)
    with torch.no_grad():
        net[0].bias[:3], net[0].bias[3:] = -100.0, 1.0  # never active, and often
        net[2].bias[:2], net[2].bias[2:] = -100.0, 1.0
    x = batch(net)
    before = net(x)
    removed = remove_neurons(net, NeuronDormancy(), below=0.0, batch=x, layers=["0"])
    assert set(removed.rows) == {"0.weight"}
    assert shapes(net) == [[5, 3], [8, 5], [2, 8]]
    remove_neurons(net, NeuronDormancy(), below=0.0, batch=x)
    assert shapes(net) == [[5, 3], [6, 5], [2, 6]]
    torch.testing.assert_close(net(x), before, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "cut"), [(Hidden(), [4, 4]), (Top(2), [8, 4]), (Top(3), [4, 4])]
)
def test_by_their_place_with_the_output_layer_counted(make_net, layers, cut):
    net = make_net(3, 8, 8, 2)
    remove_neurons(net, NeuronL1(), amount=0.5, layers=layers)
    assert [layer.out_features for layer in net[::2]] == [*cut, 2]


def test_compensation_keeps_the_mean_of_the_next_layer(make_net):
    net = make_net(3, 8, 2)
    plain, x = copy.deepcopy(net), batch(net)
    before = net(x).mean(dim=0)
    remove_neurons(net, NeuronContribution(), amount=0.5, batch=x, compensate=True)
    remove_neurons(plain, NeuronContribution(), amount=0.5, batch=x)
    torch.testing.assert_close(net(x).mean(dim=0), before)
    assert (plain(x).mean(dim=0) - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.Adam(p, lr=0.01), lambda p: torch.optim.SGD(p, 0.1, 0.9)]
)
def test_training_goes_on_as_that_of_the_masked_module(make_net, make):
    """Moments are cut with the weights: the shrunk net learns like one whose neurons are masked."""
    net = make_net(5, 12, 9, 3)
    optimizer = make(net.parameters())
    for index in range(3):
        train_step(net, optimizer, index)
    gone = [2, 5, 6]
    masked = copy.deepcopy(net)
    masked_optimizer = make(masked.parameters())
    masked_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    def hold():
        silence(masked, 0, 2, gone)
        with torch.no_grad():
            masked[0].bias[gone] = 0.0

    hold()
    silence(net, 0, 2, gone)
    with torch.no_grad():
        net[0].bias[gone] = 0.0
    remove_dead_neurons(net, optimizers=optimizer)
    assert sum(p.numel() for g in optimizer.param_groups for p in g["params"]) == sum(
        p.numel() for p in net.parameters()
    )
    assert set(optimizer.state) == set(net.parameters())
    for index in range(3, 6):
        train_step(net, optimizer, index)
        train_step(masked, masked_optimizer, index)
        hold()
    x = batch(net)
    torch.testing.assert_close(net(x), masked(x), rtol=1e-5, atol=1e-6)


def test_gradients_are_cut_too(make_net):
    net = make_net(3, 8, 2)
    nn.functional.mse_loss(net(batch(net)), torch.zeros(64, 2)).backward()
    before = net[2].weight.grad.clone()
    removed = remove_neurons(net, NeuronTaylor(), amount=0.5)
    assert torch.equal(net[2].weight.grad, before[:, removed.rows["0.weight"]])


def test_a_target_network_follows(make_net):
    net, target = make_net(3, 8, 2), make_net(3, 8, 2, seed=9)
    with torch.no_grad():
        for one in (net, target):
            one[0].weight[[1, 2]] = 0.0
        net[0].weight[5] = 0.0  # dead in the online network only
    x = batch(net)
    before, targets = net(x), target(x)
    removed = remove_dead_neurons(net, target=target)
    assert removed.rows["0.weight"].tolist() == [0, 3, 4, 5, 6, 7]
    assert shapes(net) == shapes(target) == [[6, 3], [2, 6]]
    torch.testing.assert_close(net(x), before)
    torch.testing.assert_close(target(x), targets)
    with pytest.raises(ValueError, match=r"target: expected a copy of the module"):
        remove_dead_neurons(net, target=make_net(3, 8, 2))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "amount: expected this or below"),
        ({"amount": 0.5, "below": 0.1}, ValueError, "amount: expected this or below"),
        ({"amount": 1.0}, ValueError, r"amount: expected a sparsity in \[0, 1\), got 1"),
        ({"amount": 0.5, "compensate": True}, ValueError, "batch: expected inputs"),
        ({"amount": 0.5, "layers": ["2"]}, ValueError, "'2.weight': the module returns them"),
        ({"amount": 0.5, "layers": ["7"]}, ValueError, "layers: expected names among"),
        ({"amount": 0.5, "layers": Top(1)}, ValueError, "layers: expected at least one nn.Linear"),
        ({"amount": 0.5, "optimizers": [3]}, TypeError, "optimizers: expected torch.optim"),
        ({"amount": 0.5, "batch": [[1.0]]}, TypeError, "batch: expected a tensor"),
    ],
)
def test_refusals(make_net, options, error, message):
    net = make_net(3, 8, 2)
    with pytest.raises(error, match=message):
        remove_neurons(net, NeuronL1(), **options)
    assert shapes(net) == [[8, 3], [2, 8]]


def test_more_refusals(make_net):
    with pytest.raises(TypeError, match=r"module: expected a torch.nn.Module .* got list"):
        remove_dead_neurons([])
    with pytest.raises(TypeError, match="score: expected an object with a method 'score'"):
        remove_neurons(make_net(3, 8, 2), NeuronL1, amount=0.5)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False))
    with pytest.raises(ValueError, match=r"compensate: expected False .* no bias"):
        remove_neurons(net, NeuronL1(), amount=0.5, batch=batch(net), compensate=True)
    nn.utils.parametrizations.weight_norm(net[0])
    with pytest.raises(ValueError, match="expected a plain weight"):
        remove_neurons(net, NeuronL1(), amount=0.5)
