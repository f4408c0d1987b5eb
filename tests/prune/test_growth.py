"""Dynamic sparse training: which weights are dropped, which grow, and how they start."""

import pytest
import torch
from sparsified import assert_zeros, train_step
from torch import nn

from sparseagent.prune import (
    CosineDrop,
    Cubic,
    GradientGrowth,
    Layer,
    Magnitude,
    OneShot,
    Random,
    RandomGrowth,
    Sparsifier,
    erk,
    found_masks,
    global_,
    prune_model,
    uniform,
)
from sparseagent.prune.layer import linear_layers


def dynamic(module, grow, schedule=None, **options):
    """SET or RigL with masks drawn at random."""
    settings = {"initial": Random(3), "drop": CosineDrop(0.3, stop=0.75), "every": 10, **options}
    schedule = schedule or OneShot(to=0.8)
    return Sparsifier(module, score=Magnitude(), schedule=schedule, grow=grow, **settings)


def with_weights(values):
    weight = torch.tensor(values)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        linear.weight.copy_(weight)
    return linear


@pytest.mark.parametrize(
    ("progress", "share"), [(0.0, 0.4), (0.25, 0.3), (0.375, 0.2), (0.5, 0.1), (0.75, 0), (1.0, 0)]
)
def test_cosine_drop(progress, share):
    assert CosineDrop(0.4, stop=0.75)(progress) == pytest.approx(share)


def test_cosine_drop_is_zero_from_its_stop_on():
    assert CosineDrop(0.5, stop=0.8)(0.8) == CosineDrop(0.5, stop=0.8)(1.0) == 0.0
    assert CosineDrop(0.5, stop=0.8)(0.799) > 0.0


@pytest.mark.parametrize("average", [1, 2])
def test_rigl_by_hand(average):
    """Two of four kept weights are exchanged for the two of the largest gradient."""
    linear = with_weights([[4.0, -3.0, 0.5, 0.1], [-0.4, 0.3, -0.2, 0.05]])
    sparsifier = Sparsifier(
        linear,
        score=Magnitude(),
        schedule=OneShot(to=0.5),
        grow=GradientGrowth(average=average),
        drop=lambda progress: 0.5,
    )
    sparsifier.step(0.0)
    before = torch.tensor([[True, True, True, False], [True, False, False, False]])
    assert torch.equal(sparsifier.masks["weight"], before)
    # The last gradient alone names the last column; its mean with the one before, the middle.
    linear.weight.grad = torch.tensor([[9.0, 9.0, 0.1, 0.2], [0.1, -8.0, -6.0, 0.0]])
    sparsifier.observe()
    linear.weight.grad = torch.tensor([[9.0, 9.0, 0.1, -5.0], [0.1, 3.0, -6.0, 4.0]])
    sparsifier.observe()
    sparsifier.step(0.5)
    grown = {1: [(0, 3), (1, 2)], 2: [(1, 1), (1, 2)]}[average]
    expected = torch.tensor([[True, True, False, False], [False, False, False, False]])
    for place in grown:
        expected[place] = True
    assert torch.equal(sparsifier.masks["weight"], expected)
    assert linear.weight.detach().flatten().nonzero().flatten().tolist() == [0, 1]


def test_a_dropped_weight_that_grows_at_once_is_left_as_it_was():
    linear = with_weights([[4.0, -3.0, 0.5, 0.1]])
    sparsifier = Sparsifier(
        linear,
        score=Magnitude(),
        schedule=OneShot(to=0.25),
        grow=GradientGrowth(average=1),
        drop=lambda progress: 0.4,
    )
    sparsifier.step(0.0)
    linear.weight.grad = torch.tensor([[0.0, 0.0, 7.0, 1.0]])
    sparsifier.observe()
    sparsifier.step(0.5)
    assert torch.equal(linear.weight.detach(), torch.tensor([[4.0, -3.0, 0.5, 0.0]]))


def test_rigl_in_training_grows_the_largest_gradients(make_net):
    """Against the same choice made from scratch, weight by weight, in every change of a run."""
    net = make_net(6, 16, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    sparsifier = dynamic(net, GradientGrowth(average=1))
    sparsifier.attach(optimizer, total_updates=100)
    changes = 0
    for index in range(1, 101):
        before, kept = sparsifier.masks, sparsifier.sparsity()
        train_step(net, optimizer, index)
        after = sparsifier.masks
        assert sparsifier.sparsity() == kept
        for name, mask in before.items():
            if index % 10 != 0 or index >= 75:
                assert torch.equal(after[name], mask)
                continue
            parameter = net.get_parameter(name)
            dropped, grown = mask & ~after[name], after[name] & ~mask
            count = int(CosineDrop(0.3, stop=0.75)(index / 100) * int(mask.sum()))
            assert int(dropped.sum()) == int(grown.sum()) <= count
            changes += int(grown.sum())
            assert not parameter[grown].any()
            gradient = parameter.grad.abs()
            others = ~after[name] & ~mask
            if grown.any():
                assert gradient[grown].min() >= gradient[others].max()
        assert_only_masked(net, sparsifier)
    assert changes > 5


def assert_only_masked(net, sparsifier):
    for name, mask in sparsifier.masks.items():
        assert not net.get_parameter(name)[~mask].any()


def test_set_grows_the_seeded_random_ones(make_net):
    net = make_net(6, 16, 3)
    sparsifier = dynamic(net, RandomGrowth(5))
    sparsifier.step(0.0)
    grow = RandomGrowth(5)
    for change in range(4):
        before = sparsifier.masks
        sparsifier.step(0.1)
        for name, mask in sparsifier.masks.items():
            layer = linear_layers(net)[name]
            numbers = grow.growth(layer, change)
            kept = int(before[name].sum())
            count = int(CosineDrop(0.3, stop=0.75)(0.1) * kept)
            grown = mask & ~before[name]
            assert int(mask.sum()) == kept
            assert int(grown.sum()) <= count
            if grown.any():
                assert numbers[grown].min() > numbers[~mask & ~before[name]].max()
    assert not torch.equal(grow.growth(layer, 0), grow.growth(layer, 1))
    assert not torch.equal(grow.growth(layer, 0), RandomGrowth(6).growth(layer, 0))


def test_the_smallest_are_dropped():
    linear = with_weights([[5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2, 0.1]])
    sparsifier = Sparsifier(
        linear,
        score=Magnitude(),
        schedule=OneShot(to=0.5),
        grow=RandomGrowth(0),
        drop=lambda progress: 0.6,
    )
    sparsifier.step(0.0)
    sparsifier.step(0.1)
    mask = sparsifier.masks["weight"].flatten()
    # Three of five go; two stay for certain.
    assert mask[:2].all()
    assert int(mask.sum()) == 5
    numbers = RandomGrowth(0).growth(Layer("weight", linear), 0).flatten()
    grown = (numbers[2:].argsort(descending=True)[:3] + 2).tolist()
    assert sorted(grown) == mask.nonzero().flatten().tolist()[2:]


@pytest.mark.parametrize("grow", [RandomGrowth(1), GradientGrowth(average=3)])
@pytest.mark.parametrize("allocate", [erk, uniform, global_])
def test_kept_counts_follow_the_schedule(make_net, grow, allocate):
    """A gradual ramp with growth: the counts of the ramp, with other weights."""
    net = make_net(6, 16, 16, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    schedule = Cubic(to=0.9, start=0.1, stop=0.6)
    sparsifier = dynamic(net, grow, schedule, allocate=allocate, every=1, initial=None)
    sparsifier.attach(optimizer, total_updates=50)
    weights = 6 * 16 + 16 * 16 + 16 * 3
    grown = 0
    for index in range(1, 51):
        before = sparsifier.masks
        train_step(net, optimizer, index)
        masks = sparsifier.masks
        kept = sum(int(mask.sum()) for mask in masks.values())
        assert kept == round((1 - schedule(index / 50)) * weights)
        grown += sum(int((masks[name] & ~before[name]).sum()) for name in masks)
        assert_only_masked(net, sparsifier)
    assert grown > 0
    assert sparsifier.finished


@pytest.mark.parametrize("resumed", [False, True])
def test_masks_that_were_taken_over_are_exchanged_and_do_not_grow_back(make_net, resumed):
    net, _ = prune_model(make_net(6, 16, 3), 0.8)
    schedule = Cubic(to=0.9, start=0.0, stop=0.8)
    sparsifier = dynamic(net, RandomGrowth(0), schedule, initial=None, every=1)
    sparsifier.take_over(found_masks(net))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    sparsifier.attach(optimizer, total_updates=50)
    grown = 0
    for index in range(1, 51):
        if resumed and index == 4:
            state = sparsifier.state_dict()
            sparsifier.detach()
            sparsifier = dynamic(net, RandomGrowth(0), schedule, initial=None, every=1)
            sparsifier.load_state_dict(state)
            sparsifier.attach(optimizer, total_updates=50)
        before = sparsifier.masks
        train_step(net, optimizer, index)
        masks = sparsifier.masks
        kept = sum(int(mask.sum()) for mask in masks.values())
        assert kept == round(min(0.2, 1 - schedule(index / 50)) * (6 * 16 + 16 * 3))
        grown += sum(int((masks[name] & ~before[name]).sum()) for name in masks)
    assert grown > 0


def test_static_masks_never_change(make_net):
    net = make_net(6, 16, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    sparsifier = Sparsifier(net, score=Random(2), schedule=OneShot(to=0.8))
    sparsifier.attach(optimizer, total_updates=30)
    first = sparsifier.masks
    for index in range(30):
        train_step(net, optimizer, index)
        assert_zeros(net, sparsifier)
    assert all(torch.equal(first[name], mask) for name, mask in sparsifier.masks.items())
    assert {n: int(m.sum()) for n, m in first.items()} == dict(
        zip(first, erk([Random(0).score(i) for i in linear_layers(net).values()], 0.2), strict=True)
    )


def test_about_a_hundred_changes_by_default(make_net):
    net = make_net(20, 20)
    sparsifier = dynamic(net, RandomGrowth(0), every=None, drop=CosineDrop(0.3, stop=1.0))
    sparsifier.step(0.0)
    for update in range(1, 5001):
        sparsifier.advance(update / 5000)
    assert sparsifier.state_dict()["changes"] == 99


@pytest.mark.parametrize("grow", [RandomGrowth(1), GradientGrowth(average=4)])
def test_equal_seeds_give_equal_masks(make_net, grow):
    def run():
        net = make_net(6, 16, 3)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        sparsifier = dynamic(net, grow)
        sparsifier.attach(optimizer, total_updates=60)
        for index in range(60):
            train_step(net, optimizer, index)
        return sparsifier.masks

    first, second = run(), run()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("grow", [RandomGrowth(1), GradientGrowth(average=8)])
def test_a_resumed_run_equals_an_unbroken_one(make_net, grow, tmp_path):
    def start():
        net = make_net(6, 16, 3)
        return net, torch.optim.Adam(net.parameters(), lr=0.02), dynamic(net, grow, every=4)

    net, optimizer, unbroken = start()
    unbroken.attach(optimizer, total_updates=60)
    for index in range(60):
        train_step(net, optimizer, index)

    half, half_optimizer, stopped = start()
    stopped.attach(half_optimizer, total_updates=60)
    for index in range(22):
        train_step(half, half_optimizer, index)
    states = [half.state_dict(), half_optimizer.state_dict(), stopped.state_dict()]
    torch.save(states, tmp_path / "run.pt")

    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    rest, rest_optimizer, resumed = start()
    rest.load_state_dict(saved[0])
    rest_optimizer.load_state_dict(saved[1])
    resumed.load_state_dict(saved[2])
    resumed.attach(rest_optimizer, total_updates=60)
    for index in range(22, 60):
        train_step(rest, rest_optimizer, index)
    assert not all(torch.equal(saved[2]["masks"][n], mask) for n, mask in unbroken.masks.items())
    assert all(torch.equal(unbroken.masks[n], mask) for n, mask in resumed.masks.items())
    assert torch.equal(net[0].weight, rest[0].weight)


def test_the_first_step_of_a_grown_weight_is_no_larger_than_others(make_net):
    """Its first moment starts at zero, its squared average does not."""
    net = make_net(6, 16, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sparsifier = dynamic(net, GradientGrowth(average=4))
    sparsifier.attach(optimizer, total_updates=4000)
    largest, grown_before = 0.0, {}
    for index in range(1, 200):
        before = sparsifier.masks
        train_step(net, optimizer, index)
        for name, mask in sparsifier.masks.items():
            state = optimizer.state[net.get_parameter(name)]
            assert not state["exp_avg"][~mask].any()
            assert state["exp_avg_sq"][~mask].any()
            grown = mask & ~before[name]
            assert not state["exp_avg"][grown].any()
        if index % 10 == 1 and index > 100:
            for name, mask in before.items():
                fresh = mask & grown_before[name]
                largest = max([largest, *net.get_parameter(name)[fresh].abs().tolist()])
        grown_before = {n: m & ~before[n] for n, m in sparsifier.masks.items()}
    # From a squared average of zero it would be 3.16 times the learning rate.
    assert 0.0 < largest < 0.01


def test_moments_of_squares_are_zeroed_without_growth(make_net):
    net = make_net(6, 16, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sparsifier = Sparsifier(net, score=Random(0), schedule=OneShot(to=0.5))
    sparsifier.attach(optimizer, total_updates=5)
    train_step(net, optimizer)
    for name, mask in sparsifier.masks.items():
        assert not optimizer.state[net.get_parameter(name)]["exp_avg_sq"][~mask].any()


class Coarse:
    """A pattern that says nothing of taking weights back."""

    def mask(self, scores, kept):
        return scores > -torch.inf


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"drop": None}, ValueError, "drop: expected a share to exchange beside grow, got None"),
        ({"grow": None}, ValueError, "drop: expected None without grow"),
        ({"grow": GradientGrowth}, TypeError, "grow: expected an object .* the class"),
        ({"grow": Magnitude()}, TypeError, "grow: expected an object with a method 'growth'"),
        ({"drop": 0.3}, TypeError, "drop: expected a callable"),
        ({"pattern": Coarse()}, ValueError, "grow: expected None with a pattern that cannot take"),
        ({"initial": 3}, TypeError, "initial: expected an object with a method 'score'"),
    ],
)
def test_what_does_not_fit_raises(options, error, message):
    with pytest.raises(error, match=message):
        dynamic(nn.Linear(4, 4), **{"grow": RandomGrowth(0), **options})


def test_a_share_out_of_range_raises():
    sparsifier = dynamic(nn.Linear(4, 4), RandomGrowth(0), drop=lambda progress: 1.0)
    sparsifier.step(0.0)
    with pytest.raises(ValueError, match=r"drop\(0.1\): expected a share in \[0, 1\), got 1.0"):
        sparsifier.step(0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CosineDrop(1.0), ValueError, "fraction: expected"),
        (lambda: CosineDrop(0.3, stop=0.0), ValueError, "stop: expected more than 0"),
        (lambda: CosineDrop(0.3)(1.5), ValueError, "progress: expected a fraction"),
        (lambda: GradientGrowth(average=0), ValueError, "average: expected at least 1, got 0"),
        (lambda: RandomGrowth(0.5), TypeError, "seed: expected an int, got float"),
    ],
)
def test_bad_arguments_raise(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_gradient_growth_needs_gradients():
    sparsifier = dynamic(nn.Linear(4, 4), GradientGrowth())
    sparsifier.step(0.0)
    with pytest.raises(ValueError, match="grow: expected at least one gradient update"):
        sparsifier.step(0.1)
