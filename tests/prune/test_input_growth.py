"""Inputs that come back: which ones, where, and that those which matter do."""

import copy

import pytest
import torch
from sparsified import train_step
from torch import nn

from sparseagent.prune import (
    CosineDrop,
    Cubic,
    First,
    GradientGrowth,
    InputGrowth,
    InputNorm,
    Magnitude,
    OneShot,
    Random,
    RandomGrowth,
    Sparsifier,
)
from sparseagent.prune.inputs import by_column
from sparseagent.prune.layer import Layer
from sparseagent.prune.observation import is_observer

RELEVANT = (4, 17, 33)


def _layer(observed, reads_input=True):
    observed = torch.tensor(observed)
    return Layer("weight", nn.Linear(observed.shape[1], observed.shape[0]), observed, reads_input)


def test_ranks_by_column_by_hand():
    ranks = by_column(torch.tensor([1.0, 3.0, 3.0]), torch.tensor([[5.0, 1.0, 0.0], [5.0, 2.0, 9]]))
    assert ranks.tolist() == [[1.0, 4.0, 2.0], [0.0, 5.0, 3.0]]


def test_whole_columns_by_the_gradient():
    # Root mean squares 1, sqrt(5) and sqrt(4.5).
    layer = _layer([[1.0, -1.0, 3.0], [1.0, 3.0, 0.0]])
    found = InputGrowth(GradientGrowth()).growth(layer, 0)
    assert found.tolist() == [[1.0, 4.0, 3.0], [0.0, 5.0, 2.0]]
    single = InputGrowth(GradientGrowth(), whole=False).growth(layer, 0)
    assert torch.equal(single, layer.observed.abs())
    behind = _layer([[1.0, -1.0, 3.0], [1.0, 3.0, 0.0]], reads_input=False)
    assert torch.equal(InputGrowth(GradientGrowth()).growth(behind, 0), behind.observed.abs())


def test_the_inner_growth_may_observe():
    assert is_observer(InputGrowth(GradientGrowth(average=3)))
    assert InputGrowth(GradientGrowth(average=3)).average == 3
    assert not is_observer(InputGrowth(RandomGrowth(0)))
    with pytest.raises(TypeError, match="inner: expected an object with a method 'growth'"):
        InputGrowth(Magnitude())


def _sparsifier(net, grow, score=None, **options):
    settings = {"initial": Random(3), "drop": CosineDrop(0.3, stop=1.0), "every": 1, **options}
    score = InputNorm() if score is None else score
    return Sparsifier(net, score=score, schedule=OneShot(to=0.8), grow=grow, **settings)


@pytest.mark.parametrize("inner", [RandomGrowth(1), GradientGrowth()])
def test_only_input_layers_are_exchanged(make_net, inner):
    net = make_net(20, 16, 8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = _sparsifier(net, InputGrowth(inner))
    sparsifier.attach(optimizer, total_updates=12)
    first = sparsifier.masks
    for update in range(10):
        train_step(net, optimizer, update)
    masks = sparsifier.masks
    assert not torch.equal(masks["0.weight"], first["0.weight"])
    assert torch.equal(masks["2.weight"], first["2.weight"])
    for name, mask in masks.items():
        assert mask.sum() == first[name].sum()


def test_single_weights_are_those_of_the_inner_growth_with_other_layers_left_out(make_net):
    net = make_net(20, 16, 8)
    twin = copy.deepcopy(net)
    alone = _sparsifier(net, RandomGrowth(5), Magnitude(), layers=First(1))
    among = _sparsifier(twin, InputGrowth(RandomGrowth(5), whole=False), Magnitude(), layers=["0"])
    for sparsifier in (alone, among):
        for step in range(5):
            sparsifier.step(step / 10)
    assert torch.equal(alone.masks["0.weight"], among.masks["0.weight"])


@pytest.mark.parametrize("inner", [RandomGrowth(1), GradientGrowth()])
def test_inputs_that_were_thrown_out_early_come_back(inner):
    """The first masks leave out what matters; without growth it never returns."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(50, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    sparsifier = Sparsifier(
        net,
        score=InputNorm(),
        schedule=Cubic(to=0.9, stop=0.8),
        grow=InputGrowth(inner),
        drop=CosineDrop(0.3, stop=0.8),
        layers=["0"],
        every=10,
    )
    sparsifier.attach(optimizer, total_updates=1500)
    mask = torch.zeros(16, 50, dtype=torch.bool)
    mask[:, 40:45] = True
    sparsifier.take_over({"0.weight": mask})
    generator = torch.Generator().manual_seed(1)
    for _ in range(1500):
        x = torch.randn(64, 50, generator=generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), x[:, RELEVANT].sum(1, keepdim=True)).backward()
        optimizer.step()
    assert set(RELEVANT) <= set(sparsifier.masks["0.weight"].any(0).nonzero().flatten().tolist())


def test_a_layer_that_reads_inputs_is_needed(make_net):
    with pytest.raises(ValueError, match="score, grow: expected a pruned layer that reads"):
        _sparsifier(make_net(6, 8, 8, 2), InputGrowth(RandomGrowth(0)), Magnitude(), layers=["4"])


def test_automatic_noise_filtering_leaves_other_layers_dense():
    from sb3_runs import ppo

    policy = ppo().policy
    sparsifier = Sparsifier(
        policy,
        score=Magnitude(),
        schedule=OneShot(to=0.8),
        initial=Random(0),
        grow=RandomGrowth(0),
        drop=lambda progress: 0.05,
        layers=First(1),
        critic_sparsity=0.8,
        every=1000,
    )
    first = {
        "actor": ("mlp_extractor.policy_net.0.weight",),
        "critic": ("mlp_extractor.value_net.0.weight",),
    }
    assert sparsifier.parts == first
    sparsifier.step(0.0)
    assert sparsifier.layer_sparsity() == pytest.approx(
        {name: 0.8 for names in first.values() for name in names}, abs=0.05
    )
