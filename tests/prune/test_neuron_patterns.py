"""Whole neurons and hybrids inside a Sparsifier, and the shrinking that follows."""

import pytest
import torch
from sb3_runs import Watch, off_policy, ppo
from sb3_runs import sparsify as sparsify_model
from sparsified import assert_zeros, sparsify, train_step
from stable_baselines3 import PPO, SAC
from torch import nn

from sparseagent.prune import (
    NM,
    Block,
    Cubic,
    Hybrid,
    LaneBalanced,
    OneShot,
    Taylor,
    Unstructured,
    WholeNeurons,
    erk,
    found_masks,
    shrink,
    uniform,
)


def hand_net():
    """Two hidden neurons are strong, one is strong only in what it reads, one in what it gives."""
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[4.0, 4.0], [3.0, 3.0], [1.0, 1.0], [2.0, -2.0]]))
        net[2].weight.copy_(torch.tensor([[4.0, 0.0, 1.0, 3.0], [4.0, 0.0, 1.0, 3.0]]))
    return net  # mean magnitudes: 4, 1.5, 1, 2.5


def neurons_left(masks, first, second):
    rows = masks[first].any(dim=1)
    assert torch.equal(masks[first], rows[:, None].expand_as(masks[first]))
    assert torch.equal(masks[second], rows.expand_as(masks[second]))
    return rows.nonzero().flatten().tolist()


@pytest.mark.parametrize(("to", "left"), [(0.0, [0, 1, 2, 3]), (0.25, [0, 1, 3]), (0.5, [0, 3])])
def test_whole_neurons_by_hand(to, left):
    sparsifier = sparsify(hand_net(), OneShot(to=to), pattern=WholeNeurons())
    sparsifier.step(1.0)
    assert neurons_left(sparsifier.masks, "0.weight", "2.weight") == left
    assert sparsifier.sparsity() == to


def test_rows_of_a_single_layer():
    scores = torch.tensor([[1.0, 1.0], [0.0, 3.0], [2.0, 0.5]])
    assert WholeNeurons().mask(scores, 5).tolist() == [[False] * 2, [True] * 2, [True] * 2]
    with pytest.raises(ValueError, match="kept: expected at least 2 weights"):
        WholeNeurons().mask(scores, 1)
    assert Hybrid().mask(scores, 2).tolist() == [[False] * 2, [False, True], [True, False]]


def test_a_ramp_of_whole_neurons_never_revives_and_shrinks(make_net):
    net = make_net(6, 20, 10, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    sparsifier = sparsify(net, Cubic(to=0.8), pattern=WholeNeurons())
    sparsifier.attach(optimizer, total_updates=60)
    before = sparsifier.masks
    for index in range(60):
        train_step(net, optimizer, index)
        masks = sparsifier.masks
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
    assert_zeros(net, sparsifier)
    left = [int(masks[name].any(dim=1).sum()) for name in ("0.weight", "2.weight")]
    # The largest share: 6 n + n (n / 2) + 3 (n / 2) <= 0.2 * 350 = 70 for n = 6 of 20 and 3 of 10.
    assert left == [6, 3]
    assert sparsifier.finished
    x = torch.randn(50, 6)
    outputs = net(x)
    shrink(sparsifier)
    assert [list(p.shape) for p in net.parameters()] == [[6, 6], [6], [3, 6], [3], [3, 3], [3]]
    torch.testing.assert_close(net(x), outputs, rtol=1e-5, atol=1e-6)
    train_step(net, optimizer, 60)
    assert sparsifier.frozen
    assert sparsifier.sparsity() == 0.0
    assert not torch.equal(net(x), outputs)


def test_a_hybrid_prunes_neurons_first_and_then_weights(make_net):
    net = make_net(8, 20, 20, 4)
    sparsifier = sparsify(net, lambda progress: 0.9 * progress, pattern=Hybrid(0.5))
    seen = []
    for percent in range(101):
        sparsifier.step(percent / 100)
        masks = sparsifier.masks
        rows = [masks[name].any(dim=1) for name in ("0.weight", "2.weight")]
        whole = torch.equal(masks["0.weight"], rows[0][:, None].expand(20, 8)) and torch.equal(
            masks["2.weight"], rows[1][:, None] & rows[0]
        )
        seen.append((int(rows[0].sum()), int(rows[1].sum()), whole))
        assert int(masks["4.weight"].any(dim=0).sum()) <= rows[1].sum()
    assert seen[0] == (20, 20, True)
    assert (10, 10, True) in seen
    assert all(one >= 10 and two >= 10 for one, two, whole in seen if whole)
    assert not seen[-1][2]
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.1 * (160 + 400 + 80))
    shrunk = shrink(sparsifier)
    assert net[0].out_features <= 10
    for name, mask in sparsifier.masks.items():
        assert torch.equal(mask, shrunk.cut(name, masks[name]))
    assert_zeros(net, sparsifier)


@pytest.mark.parametrize("sparsity", [0.8, 0.9, 0.98])
def test_a_hybrid_for_a_sparsity_leaves_a_dense_rest(make_net, sparsity):
    net = make_net(4, 128, 128, 4)
    pattern = Hybrid.for_sparsity(sparsity)
    sparsifier = sparsify(net, OneShot(to=sparsity), pattern=pattern, allocate=uniform)
    sparsifier.step(1.0)
    inner = sparsifier.masks["2.weight"]
    left = int(inner.any(dim=1).sum()) * int(inner.any(dim=0).sum())
    assert int(inner.sum()) / left == pytest.approx(0.5, abs=0.12)


def test_a_hybrid_for_a_low_sparsity_keeps_all_neurons():
    assert Hybrid.for_sparsity(0.4).neurons == 0.0
    assert Hybrid.for_sparsity(0.75, density=0.25).neurons == 0.0
    assert Hybrid.for_sparsity(0.75, density=1.0) == Hybrid(0.5)
    with pytest.raises(ValueError, match="sparsity: expected"):
        Hybrid.for_sparsity(1.0)
    with pytest.raises(ValueError, match="density: expected more than 0, got 0"):
        Hybrid.for_sparsity(0.9, density=0.0)


@pytest.mark.parametrize("within", [Block(4, 1), Block(16, 1), LaneBalanced(), Unstructured()])
def test_a_hybrid_takes_any_pattern_that_follows_a_budget(make_net, within):
    net = make_net(32, 64, 64, 8)
    sparsifier = sparsify(net, Cubic(to=0.85), pattern=Hybrid(0.25, within))
    for percent in range(0, 101, 4):
        sparsifier.step(percent / 100)
    assert sparsifier.finished
    assert sparsifier.masks["0.weight"].any(dim=1).sum() <= 48
    assert sparsifier.sparsity() >= 0.85
    if not isinstance(within, LaneBalanced):
        assert sparsifier.sparsity() < 0.87


def test_agents_end_smaller_and_go_on(tmp_path):
    model = ppo()
    sparsifier = sparsify_model(model, Cubic(to=0.8), pattern=WholeNeurons())
    model.learn(200, callback=sparsifier.callback())
    with pytest.raises(ValueError, match="model: expected the one whose policy"):
        shrink(sparsifier, model=ppo())
    shrink(sparsifier, model=model)
    # 3 n + n^2 + 2 n <= 0.2 * 336 = 67.2 for n = 6.
    assert model.policy_kwargs["net_arch"]["pi"] == [6, 6]
    model.learn(64, callback=sparsifier.callback(), reset_num_timesteps=False)
    model.save(tmp_path / "small.zip")
    assert PPO.load(tmp_path / "small.zip", device="cpu").policy.action_net.in_features == 6


def test_a_shrunk_agent_is_pruned_further_from_the_zeros_it_has():
    model = ppo()
    sparsifier = sparsify_model(model, OneShot(to=0.8), pattern=Hybrid(0.5))
    model.learn(64, callback=sparsifier.callback())
    shrink(sparsifier, model=model)
    further = sparsify_model(model, Cubic(to=0.9, start=0.5))
    further.take_over(found_masks(model.policy))
    assert further.sparsity() == sparsifier.sparsity() > 0.0
    watch = Watch(further)
    model.learn(320, callback=[further.callback(), watch])
    sparsities = [sparsity for _, sparsity in watch.path]
    assert sparsities == sorted(sparsities)
    assert sparsities[0] == sparsifier.sparsity()
    assert further.sparsity() == pytest.approx(0.9, abs=0.01)


def test_critics_and_targets_shrink_alike():
    model = off_policy(SAC)
    sparsifier = sparsify_model(model, OneShot(to=0.7), pattern=Hybrid(0.5), critic_sparsity=0.6)
    model.learn(120, callback=sparsifier.callback())
    shrink(sparsifier, model=model)
    critic, target = model.policy.critic, model.policy.critic_target
    shapes = [list(p.shape) for p in critic.parameters()]
    assert shapes == [list(p.shape) for p in target.parameters()]
    assert critic.qf0[0].out_features == critic.qf1[0].out_features < 16
    model.learn(60, callback=sparsifier.callback(), reset_num_timesteps=False)
    assert not model.policy.actor.mu.weight[~sparsifier.masks["actor.mu.weight"]].any()


def test_scores_that_watch_gradients_start_again_after_shrinking(make_net):
    net = make_net(6, 20, 10, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    sparsifier = sparsify(net, OneShot(to=0.5, at=0.5), Taylor(), pattern=WholeNeurons())
    sparsifier.attach(optimizer, total_updates=10)
    for index in range(10):
        train_step(net, optimizer, index)
    shrink(sparsifier)
    train_step(net, optimizer, 10)
    assert net[0].out_features < 20


def test_impossible_combinations_say_why(make_net):
    net = make_net(6, 20, 3)
    with pytest.raises(ValueError, match=r"allocate: expected None beside WholeNeurons\(\)"):
        sparsify(net, pattern=WholeNeurons(), allocate=erk)
    with pytest.raises(ValueError, match="output_floor: expected 0 beside WholeNeurons"):
        sparsify(net, pattern=WholeNeurons(), output_floor=0.5)
    with pytest.raises(ValueError, match="with one neuron in each hidden layer"):
        sparsify(net, Cubic(to=0.96), pattern=WholeNeurons())
    with pytest.raises(ValueError, match="pattern: expected hidden neurons that can be pruned"):
        sparsify(nn.Linear(4, 4), pattern=WholeNeurons())
    with pytest.raises(ValueError, match="within: expected a pattern that can follow a budget"):
        Hybrid(0.5, NM(2, 4))
    with pytest.raises(ValueError, match="within: expected a pattern for single layers"):
        Hybrid(0.5, WholeNeurons())
    with pytest.raises(ValueError, match="neurons: expected a sparsity"):
        Hybrid(1.0)
    sparsifier = sparsify(net, Cubic(to=0.5), pattern=WholeNeurons())
    with pytest.raises(RuntimeError, match="sparsifier: expected one at its final sparsity"):
        shrink(sparsifier)
