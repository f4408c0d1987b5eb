"""The ramp of a Sparsifier: when the masks change, and that none grows again."""

import pytest
import torch
from sparsified import sparsify, train_step

from sparseagent.prune import (
    Cubic,
    Magnitude,
    OneShot,
    erk,
    global_,
    uniform,
)


def test_the_ramp_follows_the_schedule_and_never_revives(make_net):
    net = make_net(6, 16, 16, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    schedule = Cubic(to=0.9, start=0.2, stop=0.8)
    sparsifier = sparsify(net, schedule, every=1)
    sparsifier.attach(optimizer, total_updates=100)
    weights = 6 * 16 + 16 * 16 + 16 * 3
    before = sparsifier.masks
    for index in range(1, 101):
        train_step(net, optimizer, index)
        masks = sparsifier.masks
        kept = sum(int(mask.sum()) for mask in masks.values())
        assert kept == round((1 - schedule(index / 100)) * weights)
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
    assert sparsifier.progress == 1.0
    assert sparsifier.updates == 100


@pytest.mark.parametrize("allocate", [uniform, erk, global_])
def test_a_score_that_favours_pruned_weights_revives_none(make_net, allocate):
    class Smallest:
        def score(self, layer):
            return -layer.weight.abs()

    net = make_net(6, 16, 3)
    sparsifier = sparsify(net, Cubic(to=0.9), Smallest(), allocate=allocate)
    largest = net[0].weight.abs().argmax()
    before = sparsifier.masks
    for percent in range(20, 81, 10):
        sparsifier.step(percent / 100)
        masks = sparsifier.masks
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
    assert sparsifier.finished
    assert not masks["0.weight"].flatten()[largest]


@pytest.mark.parametrize(
    ("schedule", "total", "every", "steps_at_final"),
    [
        (Cubic(to=0.9, start=0.2, stop=0.8), 100, None, 80),
        (Cubic(to=0.9, start=0.2, stop=0.8), 100, 30, 80),
        (Cubic(to=0.9, start=0.0, stop=1.0), 100, 1000, 100),
        (OneShot(to=0.9, at=0.35), 100, None, 35),
        (OneShot(to=0.9, at=0.0), 100, None, 0),
        (Cubic(to=0.9, start=0.2, stop=0.8), 7, None, 6),
        (Cubic(to=0.9, start=0.0, stop=1.0), 1, None, 1),
    ],
)
def test_the_final_sparsity_is_reached_on_time(make_net, schedule, total, every, steps_at_final):
    net = make_net(4, 8, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(net, schedule, every=every)
    sparsifier.attach(optimizer, total_updates=total)
    for step in range(total + 1):
        # Rounded to whole weights, the last bit of a ramp may be there before its time.
        assert (sparsifier.state_dict()["reached"] == 0.9) == (step >= steps_at_final)
        assert sparsifier.finished or step < steps_at_final
        train_step(net, optimizer, step)
    assert sum(int(m.sum()) for m in sparsifier.masks.values()) == round((1 - 0.9) * 48)


def test_every_spaces_the_changes(make_net):
    net = make_net(20, 20, 20)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(net, lambda progress: 0.9 * progress, every=10)
    sparsifier.attach(optimizer, total_updates=95)
    changes = []
    for step in range(1, 96):
        before = sparsifier.sparsity()
        train_step(net, optimizer, step)
        if sparsifier.sparsity() != before:
            changes.append(step)
    assert changes == [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]


def test_about_a_thousand_changes_by_default(make_net):
    scored = 0

    class Counting(Magnitude):
        def score(self, layer):
            nonlocal scored
            scored += 1
            return super().score(layer)

    sparsifier = sparsify(make_net(100, 100), Cubic(to=0.9, start=0.0, stop=1.0), Counting())
    for update in range(1, 5001):
        sparsifier.advance(update / 5000)
    # The last steps of a cubic ramp are smaller than one weight, and need no change.
    assert 700 < scored <= 1000
    assert sparsifier.finished


def test_less_sparsity_changes_nothing(make_net):
    net = make_net(4, 8, 2)
    sparsifier = sparsify(net, Cubic(to=0.8))
    sparsifier.step(0.7)
    reached = sparsifier.sparsity()
    sparsifier.step(0.3)
    assert sparsifier.sparsity() == reached > 0.0
