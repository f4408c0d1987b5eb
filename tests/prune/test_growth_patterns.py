"""Growth beside patterns: what is dropped and grown keeps the legal shape."""

import pytest
import torch
from sparsified import train_step
from torch import nn

from sparseagent.prune import (
    NM,
    Block,
    CosineDrop,
    GradientGrowth,
    LaneBalanced,
    Magnitude,
    OneShot,
    Random,
    RandomGrowth,
    Sparsifier,
    Unstructured,
)


def rigl(values, pattern, schedule, share):
    """RigL of the last gradient on one layer with these weights."""
    weight = torch.tensor(values)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        linear.weight.copy_(weight)
    return linear, Sparsifier(
        linear,
        score=Magnitude(),
        schedule=schedule,
        pattern=pattern,
        grow=GradientGrowth(average=1),
        drop=lambda progress: share,
    )


def exchange(linear, sparsifier, gradient, progress=0.5):
    linear.weight.grad = torch.tensor(gradient)
    sparsifier.observe()
    sparsifier.step(progress)
    return sparsifier.masks["weight"].int().tolist()


def test_n_m_exchanges_inside_its_groups():
    """The first row keeps both of its weights, so its gradients, the largest, find no place."""
    linear, sparsifier = rigl(
        [[4.0, -3.0, 0.5, 0.1], [-0.4, 0.3, -0.2, 0.05]], NM(2, 4), OneShot(to=0.5), 0.5
    )
    sparsifier.step(0.0)
    assert sparsifier.masks["weight"].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    mask = exchange(linear, sparsifier, [[0.0, 0.0, 9.0, 9.0], [0.0, 1.0, -5.0, 3.0]])
    assert mask == [[1, 1, 0, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize("pattern", [NM(1, 4), LaneBalanced(), Unstructured()])
def test_a_falling_count_keeps_the_highest_score_not_the_first_input(pattern):
    """All weights stay until the count falls; then the pattern chooses among those that stay."""
    count = 32 if pattern == LaneBalanced() else 4
    values = [[0.1] * (count - 2) + [1.0, 4.0]]
    linear, sparsifier = rigl(
        values, pattern, lambda progress: (1 - 1 / count) * min(1.0, 2 * progress), 0.0
    )
    for progress in (0.1, 0.3):
        exchange(linear, sparsifier, [[9.0] * count], progress)
    assert exchange(linear, sparsifier, [[9.0] * count], 0.5) == [[0] * (count - 1) + [1]]


def test_blocks_are_exchanged_whole():
    """The block of the lowest mean goes, though another one has the smallest weight."""
    linear, sparsifier = rigl(
        [[8.0, 3.0, 2.0, 1.0], [0.1, 3.0, 2.0, 1.0]], Block(2, 1), OneShot(to=0.5), 0.5
    )
    sparsifier.step(0.0)
    assert sparsifier.masks["weight"].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    # The last block has the larger mean, the third the largest gradient.
    gradient = [[0.0, 0.0, 9.0, -6.0], [0.0, 0.0, 0.0, 6.0]]
    assert exchange(linear, sparsifier, gradient) == [[1, 0, 0, 1], [1, 0, 0, 1]]


def test_pool_of_blocks_at_the_edge():
    values = torch.tensor([[1.0, 3.0, 5.0], [5.0, 7.0, 7.0], [2.0, 4.0, 9.0]])
    pooled = Block(2, 2).pool(values)
    assert pooled.tolist() == [[4.0, 4.0, 6.0], [4.0, 4.0, 6.0], [3.0, 3.0, 9.0]]


@pytest.mark.parametrize("pattern", [NM(1, 4), LaneBalanced(8), LaneBalanced(), Block(4, 1)])
@pytest.mark.parametrize("grow", [RandomGrowth(2), GradientGrowth(average=2)])
def test_masks_stay_legal_and_equally_large_while_they_move(make_net, pattern, grow):
    net = make_net(32, 64, 32)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sparsifier = Sparsifier(
        net,
        score=Magnitude(),
        schedule=OneShot(to=0.75),
        pattern=pattern,
        initial=Random(1),
        grow=grow,
        drop=CosineDrop(0.3),
        every=5,
    )
    sparsifier.attach(optimizer, total_updates=40)
    first = sparsifier.masks
    grown = 0
    for index in range(40):
        before = sparsifier.masks
        train_step(net, optimizer, index)
        for name, mask in sparsifier.masks.items():
            assert mask.sum() == first[name].sum()
            assert torch.equal(pattern.mask(mask.float(), int(mask.sum())), mask)
            assert not net.get_parameter(name)[~mask].any()
            grown += int((mask & ~before[name]).sum())
    assert grown > 20
    assert sparsifier.finished
