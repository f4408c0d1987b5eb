"""Masks of torch.nn.utils.prune, and zeros in checkpoints, are taken over."""

import pytest
import torch
from sb3_runs import dqn, off_policy
from sparsified import sparsify, train_step
from stable_baselines3 import SAC
from torch.nn.utils import prune as torch_prune

from sparseagent.prune import Cubic, OneShot, found_masks


def test_masks_of_torch_are_taken_over(make_net):
    net = make_net(6, 16, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    torch_prune.l1_unstructured(net[0], "weight", amount=0.5)
    expected = net[0].weight_mask.bool()
    train_step(net, optimizer)
    x = torch.randn(20, 6)
    outputs = net(x)
    masks = found_masks(net)
    assert list(masks) == ["0.weight"]
    assert torch.equal(masks["0.weight"], expected)
    torch.testing.assert_close(net(x), outputs)
    assert set(net.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    sparsifier = sparsify(net, OneShot(to=0.0))
    sparsifier.take_over(masks)
    sparsifier.attach(optimizer)
    for index in range(5):
        train_step(net, optimizer, index)
        assert torch.equal(net[0].weight != 0, expected)
    assert net[2].weight.all()


def test_zeros_of_a_checkpoint_are_taken_over_and_pruned_further(make_net):
    net = make_net(6, 16, 3)
    with torch.no_grad():
        net[0].weight[:, ::2] = 0.0
    masks = found_masks(net)
    assert torch.equal(masks["0.weight"], (torch.arange(6) % 2 == 1).expand(16, 6))
    sparsifier = sparsify(net, Cubic(to=0.8))
    sparsifier.take_over(masks)
    assert sparsifier.sparsity("0.weight") == 0.5
    for percent in range(0, 101, 10):
        sparsifier.step(percent / 100)
        assert not sparsifier.masks["0.weight"][:, ::2].any()
    assert sparsifier.sparsity() == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize("make", [dqn, lambda: off_policy(SAC)], ids=["dqn", "sac"])
def test_masks_of_a_policy_are_those_of_its_online_networks(make):
    policy = make().policy
    before = sparsify(policy, OneShot(to=0.8))
    before.step(1.0)
    after = sparsify(policy, Cubic(to=0.9))
    after.take_over(found_masks(policy))
    assert all(torch.equal(mask, before.masks[name]) for name, mask in after.masks.items())


def test_nothing_pruned_is_nothing_found(make_net):
    assert found_masks(make_net(6, 16, 3)) == {}


def test_a_pruned_bias_is_refused(make_net):
    net = make_net(6, 16, 3)
    torch_prune.l1_unstructured(net[0], "bias", amount=0.5)
    with pytest.raises(ValueError, match="got a pruned bias beside"):
        found_masks(net)


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ([], TypeError, "masks: expected a mapping"),
        ({"7.weight": torch.ones(3, 3).bool()}, ValueError, "masks: expected names among"),
        ({"0.weight": torch.ones(16, 6)}, ValueError, "masks: expected a bool mask"),
        ({"0.weight": torch.ones(6, 16).bool()}, ValueError, r"a mask of \[16, 6\] for"),
        ({"0.weight": torch.zeros(16, 6).bool()}, ValueError, "at least one kept weight"),
    ],
)
def test_masks_that_do_not_fit_are_refused(make_net, masks, error, message):
    with pytest.raises(error, match=message):
        sparsify(make_net(6, 16, 3)).take_over(masks)
