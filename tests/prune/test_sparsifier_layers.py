"""Which weights a Sparsifier prunes: layers, names, targets."""

import copy

import pytest
import torch
from sparsified import assert_zeros, sparsify, train_step
from torch import nn

from sparseagent.prune import (
    Cubic,
    OneShot,
)


def test_default_layers_and_names(make_net):
    net = nn.Sequential(nn.Conv1d(1, 2, 3), make_net(4, 8, 2), nn.LayerNorm(2))
    sparsifier = sparsify(net)
    assert sparsifier.parts == {"module": ("1.0.weight", "1.2.weight")}
    assert sparsifier.final_sparsity == {"module": 0.5}
    assert set(sparsifier.masks) < set(net.state_dict())


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (["0"], ("0.weight",)),
        (["2.weight", "0"], ("0.weight", "2.weight")),
        (("4",), ("4.weight",)),
        (lambda name, linear: linear.out_features > 4, ("0.weight", "2.weight")),
        (lambda name, linear: name == "4.weight", ("4.weight",)),
    ],
)
def test_layers_selects(make_net, layers, names):
    net = make_net(4, 8, 8, 2)
    assert sparsify(net, layers=layers).parts == {"module": names}


def test_a_name_takes_everything_below_it(make_net):
    net = nn.ModuleDict({"body": make_net(4, 8, 8), "body2": nn.Linear(8, 2)})
    assert sparsify(net, layers=["body"]).parts == {"module": ("body.0.weight", "body.2.weight")}


def test_unselected_layers_stay_dense(make_net):
    net = make_net(4, 8, 8, 2)
    before = net[0].weight.clone()
    sparsify(net, OneShot(to=0.9), layers=["2", "4"]).step(1.0)
    assert torch.equal(net[0].weight, before)
    assert not net[2].weight.all()


def test_a_shared_weight_is_pruned_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert sparsify(nn.Sequential(first, second)).parts == {"module": ("0.weight",)}


def test_targets_share_the_masks(make_net):
    net = make_net(4, 8, 2)
    target, second = copy.deepcopy(net), copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sparsifier = sparsify(net, Cubic(to=0.8), targets=[target, second])
    sparsifier.attach(optimizer, total_updates=30)
    for index in range(30):
        train_step(net, optimizer, index)
        with torch.no_grad():
            for p, t in zip(net.parameters(), target.parameters(), strict=True):
                t.lerp_(p, 0.1)
        if index % 7 == 0:
            second.load_state_dict(net.state_dict())
        assert_zeros(target, sparsifier)
        assert_zeros(second, sparsifier)
    assert sparsifier.finished


def test_a_target_may_cover_one_network_of_several(make_net):
    nets = nn.ModuleDict({"actor": make_net(4, 8, 2), "critic": make_net(4, 8, 1)})
    target = nn.ModuleDict({"critic": make_net(4, 8, 1)})
    sparsifier = sparsify(nets, targets=target)
    sparsifier.step(1.0)
    for name, weight in target.state_dict().items():
        if name.endswith("weight"):
            assert torch.equal(weight != 0, sparsifier.masks[name])
