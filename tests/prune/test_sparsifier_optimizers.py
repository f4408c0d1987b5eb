"""A Sparsifier attached to optimizers: zeros stay, moments too, progress is counted."""

import copy

import pytest
import torch
from sparsified import assert_zeros, sparsify, train_step
from torch import nn

from sparseagent.prune import (
    Cubic,
)

OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01),
    lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    lambda p: torch.optim.Adagrad(p, lr=0.1),
]


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS)
def test_weights_and_moments_stay_zero(make_net, make_optimizer):
    net = make_net(6, 16, 3)
    optimizer = make_optimizer(net.parameters())
    sparsifier = sparsify(net, Cubic(to=0.8))
    sparsifier.attach(optimizer, total_updates=50)
    seen = set()
    for index in range(60):
        train_step(net, optimizer, index)
        assert_zeros(net, sparsifier)
        for name, mask in sparsifier.masks.items():
            for key, moment in optimizer.state[net.get_parameter(name)].items():
                if isinstance(moment, torch.Tensor) and moment.shape == mask.shape:
                    seen.add(key)
                    assert not moment[~mask].any(), key
                    assert moment[mask].any(), key
    assert sparsifier.finished
    assert seen


def test_moments_checked_are_those_that_matter(make_net):
    """The same run without the sparsifier has moments where the masks are zero."""
    net = make_net(6, 16, 3)
    optimizer = torch.optim.Adam(net.parameters())
    sparsifier = sparsify(net)
    train_step(net, optimizer)
    sparsifier.step(1.0)
    assert optimizer.state[net[0].weight]["exp_avg"][~sparsifier.masks["0.weight"]].any()
    sparsifier.attach(optimizer)
    for key in ("exp_avg", "exp_avg_sq"):
        assert not optimizer.state[net[0].weight][key][~sparsifier.masks["0.weight"]].any()


def test_several_optimizers_share_the_progress(make_net):
    nets = nn.ModuleDict({"actor": make_net(4, 8, 2), "critic": make_net(4, 8, 1, seed=1)})
    actor = torch.optim.Adam(nets["actor"].parameters())
    critic = torch.optim.Adam(nets["critic"].parameters())
    sparsifier = sparsify(nets, Cubic(to=0.8, start=0.0, stop=1.0))
    sparsifier.attach(actor, total_updates=10)
    sparsifier.attach(critic, total_updates=20)
    for index in range(20):
        if index % 2:
            train_step(nets["actor"], actor, index)
        train_step(nets["critic"], critic, index)
        assert_zeros(nets, sparsifier)
    assert sparsifier.updates == 30
    assert sparsifier.progress == 1.0
    assert sparsifier.finished


def test_the_masks_change_after_the_last_optimizer(make_net):
    """As in SAC: the actor's loss is computed before the critic's step and used after it."""
    nets = nn.ModuleDict({"critic": make_net(4, 8, 1), "actor": make_net(4, 8, 2)})
    critic = torch.optim.Adam(nets["critic"].parameters())
    actor = torch.optim.Adam(nets["actor"].parameters())
    sparsifier = sparsify(nets, lambda progress: 0.8 * progress, every=1)
    sparsifier.attach(critic, total_updates=20)
    sparsifier.attach(actor, total_updates=10)
    x = torch.ones(3, 4)
    changed = []
    for index in range(20):
        loss = nets["actor"](x).square().mean()
        before = sparsifier.sparsity()
        train_step(nets["critic"], critic, index)
        changed.append(sparsifier.sparsity() != before)
        if index % 2 == 0:
            actor.zero_grad()
            loss.backward()
            actor.step()
        assert_zeros(nets, sparsifier)
    # The last step of all ends the ramp, whosever it is.
    assert changed == [False] * 19 + [True]
    assert sparsifier.finished
    assert (sparsifier.updates, sparsifier.progress) == (30, 1.0)


def test_an_optimizer_without_a_total_only_keeps_zeros(make_net):
    net = make_net(4, 8, 2)
    optimizer = torch.optim.Adam(net.parameters())
    sparsifier = sparsify(net, Cubic(to=0.8))
    sparsifier.attach(optimizer)
    for index in range(5):
        train_step(net, optimizer, index)
    assert (sparsifier.updates, sparsifier.sparsity()) == (0, 0.0)
    sparsifier.step(1.0)
    train_step(net, optimizer)
    assert sparsifier.finished
    assert_zeros(net, sparsifier)


def test_progress_may_come_from_the_loop(make_net):
    net = make_net(4, 8, 2)
    optimizer = torch.optim.Adam(net.parameters())
    sparsifier = sparsify(net, Cubic(to=0.8))
    now = 0.0
    sparsifier.attach(optimizer, progress=lambda: now)
    train_step(net, optimizer)
    assert sparsifier.sparsity() == 0.0
    now = 0.8
    train_step(net, optimizer)
    assert sparsifier.finished


def test_detach_ends_it(make_net):
    net = make_net(4, 8, 2)
    optimizer = torch.optim.Adam(net.parameters())
    sparsifier = sparsify(net)
    sparsifier.attach(optimizer, total_updates=10)
    sparsifier.detach()
    mask = sparsifier.masks["0.weight"]
    train_step(net, optimizer)
    assert sparsifier.updates == 0
    assert net[0].weight[~mask].any()
    sparsifier.attach(optimizer)
    assert not net[0].weight[~mask].any()


def test_freeze_keeps_the_masks(make_net):
    net = make_net(4, 8, 2)
    optimizer = torch.optim.Adam(net.parameters())
    sparsifier = sparsify(net, Cubic(to=0.9, start=0.0, stop=1.0))
    sparsifier.attach(optimizer, total_updates=20)
    for index in range(5):
        train_step(net, optimizer, index)
    masks = sparsifier.masks
    assert 0.0 < sparsifier.sparsity() < 0.9
    sparsifier.freeze()
    weights = net[0].weight.clone()
    for index in range(20):
        train_step(net, optimizer, index)
    assert all(torch.equal(masks[name], mask) for name, mask in sparsifier.masks.items())
    assert_zeros(net, sparsifier)
    assert not torch.equal(net[0].weight, weights)
    with pytest.raises(RuntimeError, match="step: the masks are frozen"):
        sparsifier.step(1.0)


def test_keys_copies_and_hooks_are_untouched(make_net):
    net = make_net(4, 8, 2)
    keys = list(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters())
    sparsifier = sparsify(net)
    sparsifier.attach(optimizer, total_updates=10)
    train_step(net, optimizer)
    assert list(net.state_dict()) == keys
    assert not list(net.buffers())
    twin, twin_optimizer = copy.deepcopy((net, optimizer))
    assert_zeros(twin, sparsifier)
    train_step(twin, twin_optimizer)
    assert sparsifier.updates == 1
    assert twin[0].weight[~sparsifier.masks["0.weight"]].any()
    fresh = make_net(4, 8, 2, seed=3)
    fresh.load_state_dict(net.state_dict())
    assert_zeros(fresh, sparsifier)
