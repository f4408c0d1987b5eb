"""Neurons go before fewer than four inputs are left for each."""

import copy

import pytest
import torch
from sb3_runs import off_policy, ppo
from sparsified import sparsify, train_step
from stable_baselines3 import SAC
from torch import nn

from sparseagent.prune import (
    NM,
    Cubic,
    FanIn,
    Hybrid,
    InputNorm,
    Magnitude,
    OneShot,
    RandomGrowth,
    Sparsifier,
    Unstructured,
    WholeNeurons,
    erk,
    global_,
    lamp,
    shrink,
    uniform,
)


def pruned(net, to, pattern, **options):
    sparsifier = sparsify(net, OneShot(to=to), pattern=pattern, **options)
    sparsifier.step(1.0)
    assert sparsifier.finished
    return sparsifier


def per_neuron(sparsifier):
    """Kept weights for each neuron that is left, layer by layer."""
    return [float(m.sum() / m.any(dim=1).sum()) for m in sparsifier.masks.values()]


def test_as_few_neurons_go_as_needed(make_net):
    """8-64-64-4 at 0.95: 243 weights, ERK 65, 116 and 62; 16 neurons of 4 inputs are 64."""
    net = make_net(8, 64, 64, 4)
    masks = pruned(net, 0.95, FanIn(), allocate=erk).masks
    assert [int(mask.any(dim=1).sum()) for mask in masks.values()] == [16, 16, 4]
    assert sum(int(mask.sum()) for mask in masks.values()) == 243
    # One neuron more, and one layer has too few.
    share = 17 / 64
    more = pruned(make_net(8, 64, 64, 4), 0.95, Hybrid(1 - share), allocate=erk)
    assert min(per_neuron(more)) < 4


@pytest.mark.parametrize("to", [0.7, 0.9, 0.95, 0.97])
@pytest.mark.parametrize("allocate", [erk, uniform, lamp, global_])
@pytest.mark.parametrize("least", [2, 4, 8])
def test_every_neuron_has_its_inputs(make_net, to, allocate, least):
    sparsifier = pruned(make_net(40, 64, 64, 8), to, FanIn(least), allocate=allocate)
    for mean, mask in zip(per_neuron(sparsifier), sparsifier.masks.values(), strict=True):
        assert mean >= min(least, mask.shape[1] / 2, int(mask.any(dim=0).sum()))


def test_with_enough_for_all_neurons_it_is_single_weights(make_net):
    net = make_net(40, 64, 64, 8)
    twin = copy.deepcopy(net)
    with_floor, without = pruned(net, 0.8, FanIn()), pruned(twin, 0.8, Unstructured())
    assert all(torch.equal(with_floor.masks[n], mask) for n, mask in without.masks.items())


def test_on_a_ramp_the_neurons_go_first_and_nothing_comes_back(make_net):
    net = make_net(8, 64, 64, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(net, Cubic(to=0.95), pattern=FanIn(), every=1)
    sparsifier.attach(optimizer, total_updates=100)
    before, left = sparsifier.masks, 64
    for update in range(100):
        train_step(net, optimizer, update)
        masks = sparsifier.masks
        assert not any((mask & ~before[name]).any() for name, mask in masks.items())
        before = masks
        rows = masks["2.weight"].any(dim=1)
        if int(rows.sum()) > 16:  # only whole neurons so far
            columns = masks["2.weight"].any(dim=0)
            assert torch.equal(masks["2.weight"], rows[:, None] & columns)
        left = min(left, int(rows.sum()))
    assert left == 16
    assert min(per_neuron(sparsifier)) >= 4
    shrink(sparsifier)
    assert net[0].out_features == net[2].out_features == 16


def test_policies_and_their_critics():
    for policy in (ppo(policy_kwargs={"net_arch": [64, 64]}).policy, off_policy(SAC).policy):
        sparsifier = Sparsifier(
            policy,
            score=InputNorm(),
            schedule=OneShot(to=0.95),
            pattern=FanIn(2),
            critic_sparsity=0.9,
        )
        sparsifier.step(1.0)
        assert sparsifier.finished


def test_a_network_without_hidden_neurons_loses_weights_alone():
    sparsifier = pruned(nn.Sequential(nn.Linear(40, 30)), 0.95, FanIn())
    assert sparsifier.sparsity() == pytest.approx(0.95)


def test_refusals(make_net):
    with pytest.raises(ValueError, match="least: expected at least 1"):
        FanIn(0)
    for within in (NM(2, 4), WholeNeurons()):
        with pytest.raises(ValueError, match="within: expected a pattern"):
            FanIn(within=within)
    with pytest.raises(ValueError, match="grow: expected None with a pattern that cannot take"):
        Sparsifier(
            make_net(4, 8, 2),
            score=Magnitude(),
            schedule=OneShot(to=0.5),
            pattern=FanIn(),
            grow=RandomGrowth(0),
            drop=lambda progress: 0.1,
        )
