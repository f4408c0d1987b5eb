"""Lottery tickets: masks carried from round to round, weights rewound."""

import pytest
import torch
from sb3_runs import dqn, kept, ppo, weights
from sparsified import train_step
from torch import nn

from sparseagent.prune import Geometric, Taylor, lottery, uniform


def trainer(updates=20, log=None):
    def train(net, sparsifier):
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        sparsifier.attach(optimizer, total_updates=updates)
        for index in range(updates):
            if log is not None:
                log.append({name: value.clone() for name, value in net.state_dict().items()})
            train_step(net, optimizer, index)

    return train


@pytest.mark.parametrize(("rewind", "updates"), [(0.0, 0), (0.25, 5)])
def test_every_round_starts_from_the_same_weights(make_net, rewind, updates):
    log = []
    tickets = list(
        lottery(lambda: make_net(6, 16, 3), trainer(log=log), to=0.8, rounds=3, rewind=rewind)
    )
    assert [ticket.round for ticket in tickets] == [0, 1, 2, 3]
    early = log[updates]
    for ticket in tickets[1:]:
        begin = log[20 * ticket.round]
        for name, value in early.items():
            mask = ticket.sparsifier.masks.get(name, torch.ones_like(value))
            assert torch.equal(begin[name], value * mask)


def test_the_sparsity_falls_by_the_same_share_and_masks_nest(make_net):
    tickets = list(lottery(lambda: make_net(6, 16, 3), trainer(), to=0.9, rounds=4))
    total = 6 * 16 + 16 * 3
    before = tickets[0].sparsifier.masks
    assert all(mask.all() for mask in before.values())
    for ticket in tickets:
        masks = ticket.sparsifier.masks
        count = sum(int(mask.sum()) for mask in masks.values())
        assert count == round(0.1 ** (ticket.round / 4) * total)
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        for name, mask in masks.items():
            assert torch.equal(ticket.agent.get_parameter(name) != 0, mask)
        before = masks


def test_the_largest_trained_weights_are_the_ticket(make_net):
    dense, ticket = lottery(
        lambda: make_net(6, 16, 3), trainer(), to=0.75, rounds=1, allocate=uniform
    )
    for name, mask in ticket.sparsifier.masks.items():
        trained = dense.agent.get_parameter(name).detach().abs()
        assert trained[mask].min() >= trained[~mask].max()
    # The agent of the round before keeps all its weights.
    assert all(dense.agent.get_parameter(name).all() for name in ticket.sparsifier.masks)


def test_a_round_is_trained_only_when_asked_for(make_net):
    trained = []

    def train(net, sparsifier):
        trained.append(sparsifier.sparsity())
        trainer()(net, sparsifier)

    rounds = lottery(lambda: make_net(6, 16, 3), train, to=0.75, rounds=2)
    assert trained == []
    next(rounds)
    assert trained == [0.0]
    next(rounds)
    assert trained == [0.0, 0.5]


def test_scores_that_observe_work_too(make_net):
    *_, last = lottery(
        lambda: make_net(6, 16, 3), trainer(), to=0.8, rounds=2, score=Taylor(average=5)
    )
    assert last.sparsifier.sparsity() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("make", [ppo, dqn])
def test_with_stable_baselines(make):
    def train(model, sparsifier):
        model.learn(160, callback=sparsifier.callback())

    tickets = list(lottery(make, train, to=0.9, rounds=2, rewind=0.1))
    for ticket in tickets:
        (part,) = ticket.sparsifier.parts
        expected = round(0.1 ** (ticket.round / 2) * weights(ticket.sparsifier, part))
        assert kept(ticket.sparsifier, part) == expected
        assert ticket.sparsifier.progress == 1.0
    assert len({id(ticket.agent) for ticket in tickets}) == 3


def test_equal_seeds_give_equal_tickets(make_net):
    def last():
        *_, ticket = lottery(lambda: make_net(6, 16, 3), trainer(), to=0.8, rounds=2, rewind=0.1)
        return ticket.agent.state_dict()

    first, second = last(), last()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_geometric():
    assert [Geometric(0.75, 0.0, 1.0)(x) for x in (0.0, 0.5, 1.0)] == [0.0, 0.5, 0.75]


def test_a_training_without_the_sparsifier_raises(make_net):
    def forgetful(net, sparsifier):
        train_step(net, torch.optim.Adam(net.parameters()))

    rounds = lottery(lambda: make_net(6, 16, 3), forgetful, to=0.8, rounds=2)
    next(rounds)
    with pytest.raises(RuntimeError, match=r"train: expected the pruned weights of '0.weight' to"):
        next(rounds)
    rounds = lottery(lambda: make_net(6, 16, 3), forgetful, to=0.8, rewind=0.5)
    with pytest.raises(RuntimeError, match=r"train: expected to pass progress 0.5"):
        next(rounds)


@pytest.mark.parametrize(
    ("start", "options", "error", "message"),
    [
        (lambda: 3, {}, TypeError, "start: expected a torch.nn.Module or a model of a known"),
        (lambda: nn.Linear(4, 4), {"to": 1.0}, ValueError, "to: expected a sparsity"),
        (lambda: nn.Linear(4, 4), {"rounds": 0}, ValueError, "rounds: expected at least 1"),
        (lambda: nn.Linear(4, 4), {"rewind": 2}, ValueError, "rewind: expected a fraction"),
        (nn.Linear, {}, TypeError, "start: expected a callable"),
    ],
)
def test_bad_arguments_raise(start, options, error, message):
    with pytest.raises(error, match=message):
        next(lottery(start, trainer(), **{"to": 0.5, **options}))
