"""Patterns inside a Sparsifier: ramps, fixed densities, and combinations that cannot be."""

import pytest
import torch
from sb3_runs import off_policy
from sparsified import assert_zeros, sparsify, train_step
from stable_baselines3 import SAC

from sparseagent.prune import (
    NM,
    Block,
    Cubic,
    LaneBalanced,
    OneShot,
    Unstructured,
    erk,
    global_,
    uniform,
)


def ramp(net, to, pattern, **options):
    """Train through a ramp, checking that nothing is revived; the sparsifier at its end."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    sparsifier = sparsify(net, Cubic(to=to), pattern=pattern, **options)
    sparsifier.attach(optimizer, total_updates=60)
    before = sparsifier.masks
    levels = set()
    for index in range(60):
        train_step(net, optimizer, index)
        masks = sparsifier.masks
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
        levels.add(sparsifier.sparsity())
    assert len(levels) >= 3
    assert sparsifier.finished
    assert_zeros(net, sparsifier)
    return sparsifier


@pytest.mark.parametrize("pattern", [Block(16, 1), Block(4, 1), Block(4, 4)])
@pytest.mark.parametrize("allocate", [None, uniform, global_])
def test_blocks_end_within_a_block_of_the_sparsity(make_net, pattern, allocate):
    net = make_net(17, 36, 40, 6)
    sparsifier = ramp(net, 0.75, pattern, allocate=allocate)
    kept = sum(int(mask.sum()) for mask in sparsifier.masks.values())
    budget = round(0.25 * (17 * 36 + 36 * 40 + 40 * 6))
    assert budget - 3 * pattern.rows * pattern.columns < kept <= budget
    for mask in sparsifier.masks.values():
        for band in mask.split(pattern.rows):
            for part in band.split(pattern.columns, 1):
                assert part.all() or not part.any()


def test_a_global_threshold_leaves_a_thin_output_layer_a_block(make_net):
    net = make_net(4, 64, 64, 2)
    with torch.no_grad():
        net[4].weight.mul_(0.01)
    sparsifier = sparsify(net, Cubic(to=0.9), pattern=Block(16, 1), allocate=global_)
    for percent in range(101):
        sparsifier.step(percent / 100)
    assert int(sparsifier.masks["4.weight"].sum()) == int(0.5 * 113)


def test_two_of_four_ends_at_half(make_net):
    sparsifier = ramp(make_net(8, 32, 32, 4), 0.5, NM(2, 4))
    assert sparsifier.layer_sparsity() == {"0.weight": 0.5, "2.weight": 0.5, "4.weight": 0.5}
    for mask in sparsifier.masks.values():
        assert (mask.view(-1, 4).sum(dim=1) == 2).all()


def test_a_ramp_goes_through_all_numbers_per_group(make_net):
    net = make_net(64, 48, 32)
    sparsifier = sparsify(net, lambda progress: 0.875 * progress, pattern=LaneBalanced(4))
    levels = []
    for percent in range(101):
        sparsifier.step(percent / 100)
        counts = {
            int(group.sum())
            for mask in sparsifier.masks.values()
            for group in mask.split(32, 1)
            for group in group
            if group.numel() == 32
        }
        assert len(counts) == 1
        levels += counts
    assert sorted(set(levels), reverse=True) == [*range(32, 3, -1)]
    assert levels == sorted(levels, reverse=True)


def test_lane_balanced_without_n_follows_the_allocation(make_net):
    net = make_net(64, 96, 128, 4)
    sparsifier = ramp(net, 0.8, LaneBalanced())
    masks = sparsifier.masks
    numbers = {}
    for name, mask in masks.items():
        groups = mask.view(mask.shape[0], -1, 32).sum(dim=2)
        assert len(groups.unique()) == 1
        numbers[name] = int(groups[0, 0])
    plain = sparsify(make_net(64, 96, 128, 4), OneShot(to=0.8), pattern=Unstructured())
    plain.step(1.0)
    share = {name: int(32 * (1 - value)) for name, value in plain.layer_sparsity().items()}
    assert numbers["4.weight"] == share["4.weight"] == 32
    assert numbers["0.weight"] >= share["0.weight"]
    assert numbers["2.weight"] >= share["2.weight"]
    assert sparsifier.sparsity() >= 0.8


def test_another_sparsity_than_the_patterns_is_refused_with_the_right_one(make_net):
    net = make_net(17, 64, 64, 6)
    # 64 * max(1, 17 * 4 // 32 = 2), 64 * 2 * 4 and 6 * 2 * 4 of 5,568 weights.
    with pytest.raises(ValueError, match=r"schedule: expected a final sparsity of 0.87643\d for"):
        sparsify(net, Cubic(to=0.9), pattern=LaneBalanced(4))
    with pytest.raises(ValueError, match=r"0.87643\d for the module, as LaneBalanced\(n=4\) gives"):
        sparsify(net, Cubic(to=0.5), pattern=LaneBalanced(4))
    for rounded in (0.877, 0.871):
        with pytest.raises(ValueError, match=r"expected a final sparsity of 0\.87643"):
            sparsify(net, Cubic(to=rounded), pattern=LaneBalanced(4))
    sparsifier = ramp(net, 0.876, LaneBalanced(4))
    assert sparsifier.sparsity() == 1 - (64 * 2 + 64 * 8 + 6 * 8) / 5568


def test_a_fixed_density_takes_no_allocation(make_net):
    with pytest.raises(ValueError, match=r"allocate: expected None beside NM\(n=2, m=4\)"):
        sparsify(make_net(8, 8, 4), OneShot(to=0.5), pattern=NM(2, 4), allocate=erk)


def test_a_share_below_the_pattern_is_refused_at_once(make_net):
    with pytest.raises(ValueError, match=r"kept: expected at least 2048 .* LaneBalanced\(n=None\)"):
        sparsify(make_net(8, 256, 256, 4), Cubic(to=0.97), pattern=LaneBalanced())
    with pytest.raises(ValueError, match="smallest block"):
        sparsify(make_net(32, 32, 32), Cubic(to=0.995), pattern=Block(16, 1), allocate=uniform)


def test_critics_need_the_sparsity_of_the_pattern_too():
    model = off_policy(SAC)
    options = {"pattern": NM(1, 4), "layers": ["actor.latent_pi.2", "critic.qf0.2"]}
    with pytest.raises(
        ValueError, match=r"critic_sparsity: expected a final sparsity of 0\.75 for"
    ):
        sparsify(model.policy, OneShot(to=0.75), **options)
    sparsifier = sparsify(model.policy, OneShot(to=0.75), critic_sparsity=0.75, **options)
    sparsifier.step(0.0)
    assert set(sparsifier.layer_sparsity().values()) == {0.75}
    target = model.policy.critic_target.qf0[2].weight
    assert torch.equal(target != 0, sparsifier.masks["critic.qf0.2.weight"])
