"""Scores that watch the gradients: by hand, and in training."""

import pytest
import torch
from sparsified import train_step
from torch import nn

from sparseagent.prune import (
    Cubic,
    Fisher,
    GradientGrowth,
    Magnitude,
    Movement,
    OneShot,
    Snip,
    Sparsifier,
    Taylor,
    erk,
    global_,
    lamp,
)
from sparseagent.prune.observation import Averages

WEIGHT = [[1.0, -2.0, 0.5], [4.0, 0.0, -1.0]]
GRADIENTS = ([[2.0, 1.0, 4.0], [0.5, 9.0, -3.0]], [[-4.0, 1.0, 0.0], [0.5, 9.0, 1.0]])


def observed(layer, method, gradients=GRADIENTS):
    averages = Averages(method)
    for gradient in gradients:
        layer.weight.grad = torch.tensor(gradient)
        averages.update([layer])
    return averages.show(layer)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        # The mean of w * g, then its size: opposite gradients cancel.
        (Snip(), [[1.0, 2.0, 1.0], [2.0, 0.0, 1.0]]),
        # The mean of (w * g)^2: they do not.
        (Taylor(), [[10.0, 4.0, 2.0], [4.0, 0.0, 5.0]]),
        (Movement(), [[1.0, 2.0, -1.0], [-2.0, 0.0, -1.0]]),
        # w^2 / 2 times the mean of g^2.
        (Fisher(), [[5.0, 2.0, 1.0], [2.0, 0.0, 2.5]]),
    ],
    ids=["snip", "taylor", "movement", "fisher"],
)
def test_scores_by_hand(layer_of, score, expected):
    layer = layer_of(WEIGHT)
    scores = score.score(observed(layer, score))
    assert torch.equal(scores, torch.tensor(expected))
    assert not scores.requires_grad
    assert torch.equal(layer.weight, torch.tensor(WEIGHT))


def test_gradient_growth_by_hand(layer_of):
    growth = GradientGrowth(average=2)
    numbers = growth.growth(observed(layer_of(WEIGHT), growth), change=0)
    assert torch.equal(numbers, torch.tensor([[1.0, 1.0, 2.0], [0.5, 9.0, 1.0]]))


def test_squares_use_the_weights_of_their_time(layer_of):
    layer, averages = layer_of([[1.0]]), Averages(Taylor())
    for weight, gradient in ((1.0, 2.0), (3.0, 1.0)):
        with torch.no_grad():
            layer.weight.fill_(weight)
        layer.weight.grad = torch.tensor([[gradient]])
        averages.update([layer])
    assert averages.show(layer).observed.item() == (4.0 + 9.0) / 2


@pytest.mark.parametrize(
    ("method", "mean"),
    [
        # All alike; or, from the second on, each new one counts a half.
        (Movement(), -(1.0 + 2.0 + 3.0 + 4.0) / 4),
        (GradientGrowth(average=2), ((1.0 + 2.0) / 2 / 2 + 3.0 / 2) / 2 + 4.0 / 2),
        (GradientGrowth(average=4), (1.0 + 2.0 + 3.0 + 4.0) / 4),
        (GradientGrowth(average=1), 4.0),
    ],
)
def test_averages_by_hand(layer_of, method, mean):
    layer = observed(layer_of([[1.0]]), method, [[[1.0]], [[2.0]], [[3.0]], [[4.0]]])
    assert layer.observed.item() == mean


def test_layers_without_a_gradient_are_skipped(layer_of):
    layer, averages = layer_of(WEIGHT), Averages(Taylor())
    averages.update([layer])
    assert averages.show(layer).observed is None
    assert Averages(Magnitude()).show(observed(layer, Magnitude())).observed is None


def test_the_hook_sees_the_gradients_of_pruned_weights(make_net):
    """Before the step, so that the gradient of a weight that is zero by its mask is there."""
    net = make_net(6, 16, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = Sparsifier(
        net,
        score=Magnitude(),
        schedule=OneShot(to=0.5),
        grow=GradientGrowth(average=1),
        drop=lambda progress: 0.0,
    )
    sparsifier.attach(optimizer, total_updates=10)
    train_step(net, optimizer)
    means = sparsifier.state_dict()["observed"]["grow"]["means"]
    for name, mask in sparsifier.masks.items():
        assert torch.equal(means[name], net.get_parameter(name).grad)
        assert means[name][~mask].any()


@pytest.mark.parametrize("score", [Taylor(average=5), Movement(), Fisher(), Snip()])
@pytest.mark.parametrize("allocate", [erk, global_])
def test_gradual_pruning_never_revives_and_ends_at_the_count(make_net, score, allocate):
    net = make_net(6, 16, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    sparsifier = Sparsifier(net, score=score, schedule=Cubic(to=0.8), allocate=allocate)
    sparsifier.attach(optimizer, total_updates=50)
    before = sparsifier.masks
    for index in range(50):
        train_step(net, optimizer, index)
        masks = sparsifier.masks
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert kept == round(0.2 * (6 * 16 + 16 * 3))


@pytest.mark.parametrize("score", [Taylor(average=5), Movement(), Fisher(average=5)])
def test_a_resumed_run_equals_an_unbroken_one(make_net, score, tmp_path):
    def start():
        net = make_net(6, 16, 3)
        sparsifier = Sparsifier(net, score=score, schedule=Cubic(to=0.8))
        return net, torch.optim.Adam(net.parameters(), lr=0.02), sparsifier

    net, optimizer, unbroken = start()
    unbroken.attach(optimizer, total_updates=50)
    for index in range(50):
        train_step(net, optimizer, index)
    half, half_optimizer, stopped = start()
    stopped.attach(half_optimizer, total_updates=50)
    for index in range(21):
        train_step(half, half_optimizer, index)
    states = [half.state_dict(), half_optimizer.state_dict(), stopped.state_dict()]
    torch.save(states, tmp_path / "run.pt")
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    rest, rest_optimizer, resumed = start()
    rest.load_state_dict(saved[0])
    rest_optimizer.load_state_dict(saved[1])
    resumed.load_state_dict(saved[2])
    resumed.attach(rest_optimizer, total_updates=50)
    for index in range(21, 50):
        train_step(rest, rest_optimizer, index)
    assert all(torch.equal(unbroken.masks[n], mask) for n, mask in resumed.masks.items())


def test_snip_keeps_what_the_loss_feels():
    """Of a linear network the loss feels only the inputs that are not zero."""
    linear = nn.Linear(4, 2, bias=False)
    sparsifier = Sparsifier(linear, score=Snip(), schedule=OneShot(to=0.5))
    x = torch.tensor([[1.0, 0.0, 2.0, 0.0], [3.0, 0.0, -1.0, 0.0]])
    (linear(x) - 5.0).square().sum().backward()
    sparsifier.observe()
    sparsifier.step(0.0)
    expected = torch.tensor([[True, False, True, False]] * 2)
    assert torch.equal(sparsifier.masks["weight"], expected)


@pytest.mark.parametrize("frozen", [False, True])
def test_observing_ends_with_the_last_choice(make_net, frozen):
    net = make_net(6, 16, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    sparsifier = Sparsifier(net, score=Snip(), schedule=OneShot(to=0.5, at=0.2))
    sparsifier.attach(optimizer, total_updates=20)
    if frozen:  # what comes later may still choose by it, as the next round of a lottery does
        sparsifier.freeze()
    for index in range(20):
        train_step(net, optimizer, index)
    counts = sparsifier.state_dict()["observed"]["score"]["counts"]
    assert set(counts.values()) == {20 if frozen else 4}


@pytest.mark.parametrize("score", [Snip(), Taylor(), Movement(), Fisher()])
def test_without_gradients_they_say_what_to_do(score):
    sparsifier = Sparsifier(nn.Linear(4, 2), score=score, schedule=OneShot(to=0.5))
    with pytest.raises(ValueError, match="score: expected at least one gradient update before"):
        sparsifier.step(0.0)
    assert sparsifier.sparsity() == 0.0


def test_a_nan_gradient_is_named(make_net):
    net = make_net(4, 2)
    sparsifier = Sparsifier(net, score=Taylor(), schedule=OneShot(to=0.5))
    net[0].weight.grad = torch.full((2, 4), torch.nan)
    sparsifier.observe()
    with pytest.raises(ValueError, match=r"score: expected finite scores for '0.weight', got NaN"):
        sparsifier.step(0.0)


@pytest.mark.parametrize("make", [Taylor, Fisher, GradientGrowth])
@pytest.mark.parametrize(("average", "error"), [(0, ValueError), (1.5, TypeError)])
def test_bad_averages_raise(make, average, error):
    with pytest.raises(error, match="average: expected"):
        make(average=average)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": {"means": {}}}, "state: expected 'means' and 'counts'"),
        ({"score": {"means": {"other": torch.ones(2, 4)}, "counts": {"other": 1}}}, "observations"),
        ({"score": {"means": {"weight": torch.ones(4, 2)}, "counts": {"weight": 1}}}, "got .4, 2"),
        ({"score": {"means": {"weight": torch.ones(2, 4)}, "counts": {"weight": 0}}}, "a count of"),
        ({"score": 3}, "state: expected 'means' and 'counts' of an observer, got int"),
    ],
)
def test_a_bad_state_raises(change, message):
    sparsifier = Sparsifier(nn.Linear(4, 2), score=Taylor(), schedule=OneShot(to=0.5))
    state = sparsifier.state_dict()
    with pytest.raises(ValueError, match=message):
        sparsifier.load_state_dict({**state, "observed": {**state["observed"], **change}})
    with pytest.raises(ValueError, match="state: expected observations"):
        sparsifier.load_state_dict({**state, "observed": {}})
    with pytest.raises(ValueError, match=r"state: expected .* for 'track', got 3"):
        sparsifier.load_state_dict({**state, "track": 3})


def test_lamp_by_hand():
    """Shares of the norm that is left, one threshold."""
    first = torch.tensor([[4.0, 2.0, 1.0, 1.0]])
    second = torch.tensor([[0.3, 0.1]])
    # 16/16, 4/20, 1/21, 1/22 and 0.09/0.09, 0.01/0.1
    by_count = {2: [1, 1], 3: [2, 1], 4: [2, 2], 5: [3, 2], 6: [4, 2]}
    for kept, counts in by_count.items():
        assert lamp([first, second], kept / 6) == counts


def test_lamp_is_the_same_for_scaled_layers():
    torch.manual_seed(0)
    layers = [torch.rand(8, 4), torch.rand(8, 8), torch.rand(2, 8)]
    scaled = [layer * factor for layer, factor in zip(layers, (1.0, 64.0, 0.25), strict=True)]
    assert lamp(layers, 0.3) == lamp(scaled, 0.3)


def test_lamp_keeps_one_weight_a_layer_and_skips_the_pruned():
    zeros = torch.zeros(2, 2)
    pruned = torch.tensor([[5.0, -torch.inf], [-torch.inf, -torch.inf]])
    assert lamp([zeros, pruned], 3 / 8) == [2, 1]
    with pytest.raises(ValueError, match="scores: expected at least 0 for lamp, got less in layer"):
        lamp([torch.tensor([[1.0, -1.0]])], 0.5)
