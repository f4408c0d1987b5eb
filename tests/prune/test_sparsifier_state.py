"""Saving and loading a Sparsifier."""

import pytest
import torch
from sparsified import assert_zeros, sparsify, train_step
from torch import nn

from sparseagent.prune import (
    Cubic,
    erk,
    global_,
)


@pytest.mark.parametrize("allocate", [erk, global_])
@pytest.mark.parametrize("every", [None, 7])
def test_a_resumed_run_equals_an_unbroken_one(make_net, allocate, every, tmp_path):
    def start():
        net = make_net(6, 16, 3)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        sparsifier = sparsify(net, Cubic(to=0.85), allocate=allocate, every=every)
        return net, optimizer, sparsifier

    net, optimizer, unbroken = start()
    unbroken.attach(optimizer, total_updates=60)
    for index in range(60):
        train_step(net, optimizer, index)

    half, half_optimizer, stopped = start()
    stopped.attach(half_optimizer, total_updates=60)
    for index in range(25):
        train_step(half, half_optimizer, index)
    path = tmp_path / "run.pt"
    torch.save(
        {
            "net": half.state_dict(),
            "optimizer": half_optimizer.state_dict(),
            "sparsifier": stopped.state_dict(),
        },
        path,
    )

    saved = torch.load(path, weights_only=True)
    rest, rest_optimizer, resumed = start()
    rest.load_state_dict(saved["net"])
    rest_optimizer.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["sparsifier"])
    assert 0.0 < resumed.sparsity() == stopped.sparsity() < 0.85
    assert (resumed.updates, resumed.progress) == (25, 25 / 60)
    resumed.attach(rest_optimizer, total_updates=60)
    for index in range(25, 60):
        train_step(rest, rest_optimizer, index)
    assert resumed.finished
    assert all(torch.equal(unbroken.masks[n], mask) for n, mask in resumed.masks.items())
    assert torch.equal(net[0].weight, rest[0].weight)


def test_a_saved_state_is_a_copy(make_net):
    sparsifier = sparsify(make_net(4, 8, 2), Cubic(to=0.8))
    state = sparsifier.state_dict()
    sparsifier.step(1.0)
    assert all(mask.all() for mask in state["masks"].values())
    for masks in (sparsifier.masks, sparsifier.state_dict()["masks"]):
        masks["0.weight"].fill_(True)
        assert not sparsifier.masks["0.weight"].all()


def test_loading_restores_a_frozen_state(make_net):
    sparsifier = sparsify(make_net(4, 8, 2), Cubic(to=0.8))
    sparsifier.step(0.5)
    sparsifier.freeze()
    other = sparsify(make_net(4, 8, 2), Cubic(to=0.8))
    other.load_state_dict(sparsifier.state_dict())
    assert other.frozen
    assert_zeros(other.module, sparsifier)


def test_a_state_from_before_masks_were_remembered_loads(make_net):
    sparsifier = sparsify(make_net(4, 8, 2), Cubic(to=0.8))
    sparsifier.step(0.5)
    state = sparsifier.state_dict()
    del state["taken"]
    other = sparsify(make_net(4, 8, 2), Cubic(to=0.8))
    other.load_state_dict(state)
    assert other.sparsity() == sparsifier.sparsity()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "state: expected version 2, got 1"),
        ({"extra": 1}, "state: expected the keys"),
        ({"masks": None}, "state: expected masks for"),
        (
            {"masks": {"other.weight": torch.ones(2, 4) > 0}},
            r"state: expected masks for \['weight'\]",
        ),
        (
            {"masks": {"weight": torch.ones(4, 2) > 0}},
            r"a mask of \[2, 4\] for 'weight', got \[4, 2\]",
        ),
        ({"masks": {"weight": torch.ones(2, 4)}}, "a bool mask for 'weight', got torch.float32"),
        ({"masks": {"weight": [True]}}, "a bool mask for 'weight', got list"),
        ({"masks": {"weight": torch.zeros(2, 4) > 0}}, "at least one kept weight"),
        ({"checked": None}, "state: expected a count for 'checked'"),
        ({"updates": -1}, "state: expected a count for 'updates', got -1"),
        ({"start_timestep": 1.5}, "state: expected a count for 'start_timestep'"),
        ({"taken": {"module": 1.0}}, "state: taken.'module'.: expected a sparsity"),
        ({"frozen": 1}, "state: expected a bool for 'frozen'"),
        ({"progress": 2.0}, "state: progress: expected a fraction"),
        ({"reached": "0.5"}, "state: reached: expected a number"),
    ],
)
def test_a_bad_state_raises_and_changes_nothing(change, message):
    linear = nn.Linear(4, 2)
    sparsifier = sparsify(linear)
    with pytest.raises(ValueError, match=message):
        sparsifier.load_state_dict({**sparsifier.state_dict(), **change})
    assert sparsifier.sparsity() == 0.0
    assert sparsifier.updates == 0
    assert linear.weight.all()


def test_a_state_that_is_no_mapping_raises():
    with pytest.raises(TypeError, match="state: expected a mapping, got list"):
        sparsify(nn.Linear(4, 2)).load_state_dict([1])
