"""The distance from the start: what moved stays, across saving, loading and growth."""

import copy

import pytest
import torch
from sb3_runs import ppo
from sparsified import sparsify, train_step
from torch import nn

from sparseagent.prune import (
    CosineDrop,
    Cubic,
    Drift,
    InputNorm,
    Layer,
    Magnitude,
    OneShot,
    RandomGrowth,
)

RELEVANT = (4, 17, 33)


def _regression(score):
    """47 inputs are never set: their weights start large, and stay where they are."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(50, 1))
    with torch.no_grad():
        net[0].weight.fill_(2.0)
        net[0].weight[:, RELEVANT] = 0.1
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(net, Cubic(to=0.94, start=0.3), score)
    sparsifier.attach(optimizer, total_updates=200)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        x = torch.zeros(32, 50)
        x[:, RELEVANT] = torch.randn(32, 3, generator=generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), x.sum(1, keepdim=True)).backward()
        optimizer.step()
    (kept,) = sparsifier.masks.values()
    return tuple(kept[0].nonzero().flatten().tolist())


def test_the_weights_that_moved_stay():
    assert _regression(Drift()) == RELEVANT
    assert not set(_regression(Magnitude())) & set(RELEVANT)


def test_by_hand(layer_of):
    layer = layer_of([[1.5, -2.0], [0.0, 3.0]])
    shown = Layer(layer.name, layer.module, observed=torch.tensor([[1.0, 2.0], [0.5, 3.0]]))
    assert torch.equal(Drift().score(shown), torch.tensor([[0.5, 4.0], [0.5, 0.0]]))


def test_there_is_no_distance_before_training(make_net):
    with pytest.raises(ValueError, match="score: expected at least one gradient update"):
        sparsify(make_net(4, 8, 2), score=Drift()).step(1.0)


def _start(sparsifier):
    return sparsifier.state_dict()["observed"]["score"]["means"]


def test_the_start_stays_while_weights_move(make_net):
    net = make_net(4, 8, 2)
    initial = copy.deepcopy(net.state_dict())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(net, Cubic(to=0.5), Drift(), every=1)
    sparsifier.attach(optimizer, total_updates=20)
    for index in range(20):
        train_step(net, optimizer, index)
        if index == 5:
            alive = sparsifier.masks
            train_step(net, optimizer, 99)
            for name, start in _start(sparsifier).items():
                assert torch.equal(start, initial[name] * alive[name])
    assert sparsifier.finished


@pytest.mark.parametrize("score", [Drift(), InputNorm(Drift())], ids=["drift", "inputs"])
def test_a_resumed_run_is_the_unbroken_one(make_net, tmp_path, score):
    def make():
        net = make_net(4, 8, 2)
        optimizer = torch.optim.Adam(net.parameters())
        return net, optimizer, sparsify(net, Cubic(to=0.7), score, every=2)

    net, optimizer, whole = make()
    whole.attach(optimizer, total_updates=40)
    for index in range(40):
        train_step(net, optimizer, index)
        if index == 14:
            torch.save(whole.state_dict(), tmp_path / "sparsifier.pt")
            weights = copy.deepcopy(net.state_dict())
            moments = copy.deepcopy(optimizer.state_dict())
    again, optimizer, resumed = make()
    again.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    resumed.load_state_dict(torch.load(tmp_path / "sparsifier.pt", weights_only=True))
    resumed.attach(optimizer, total_updates=40)
    for index in range(15, 40):
        train_step(again, optimizer, index)
    for name, mask in whole.masks.items():
        assert torch.equal(mask, resumed.masks[name])
        assert torch.equal(net.state_dict()[name], again.state_dict()[name])


def test_a_loaded_agent_starts_where_it_was_loaded(tmp_path):
    model = ppo()
    model.learn(64)
    model.save(tmp_path / "model.zip")
    loaded = type(model).load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    at_load = copy.deepcopy(loaded.policy.state_dict())
    sparsifier = sparsify(loaded.policy, Cubic(to=0.5, start=0.9, stop=1.0), Drift())
    loaded.learn(32, callback=sparsifier.callback(total_timesteps=320))
    for name, start in _start(sparsifier).items():
        assert torch.equal(start, at_load[name])


def test_a_grown_weight_starts_at_zero(make_net):
    net = make_net(4, 8, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(
        net, OneShot(to=0.5, at=0.2), Drift(), grow=RandomGrowth(0), drop=CosineDrop(), every=2
    )
    sparsifier.attach(optimizer, total_updates=60)
    pruned = {name: torch.zeros_like(mask) for name, mask in sparsifier.masks.items()}
    for index in range(60):
        masks = sparsifier.masks
        for name, mask in masks.items():
            pruned[name] |= ~mask
        train_step(net, optimizer, index)
    returned = 0
    for name, start in _start(sparsifier).items():
        assert not start[pruned[name]].any()
        returned += int((pruned[name] & sparsifier.masks[name]).sum())
    assert returned > 0
