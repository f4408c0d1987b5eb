"""The masks of a Sparsifier: exact counts, equal seeds, and what is reported of them."""

import subprocess
import sys

import pytest
import torch
from sparsified import assert_zeros, sparsify, train_step
from torch import nn

from sparseagent.prune import (
    Cubic,
    Magnitude,
    OneShot,
    Random,
    erk,
    global_,
    uniform,
)


def test_one_shot_by_hand():
    linear = nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, -3.0, 0.5], [-0.25, 0.1, 2.0]]))
    bias = linear.bias.clone()
    sparsifier = sparsify(linear)
    assert sparsifier.sparsity() == 0.0
    sparsifier.step(0.0)
    assert torch.equal(linear.weight, torch.tensor([[1.0, -3.0, 0.0], [0.0, 0.0, 2.0]]))
    assert torch.equal(linear.bias, bias)
    expected = torch.tensor([[True, True, False], [False, False, True]])
    assert torch.equal(sparsifier.masks["weight"], expected)
    assert sparsifier.sparsity() == 0.5


@pytest.mark.parametrize("allocate", [uniform, erk, global_])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.98])
def test_the_kept_count_is_exact(make_net, allocate, sparsity):
    net = make_net(8, 32, 32, 4)
    sparsifier = sparsify(net, OneShot(to=sparsity), allocate=allocate)
    sparsifier.step(1.0)
    weights = 8 * 32 + 32 * 32 + 32 * 4
    kept = sum(int(mask.sum()) for mask in sparsifier.masks.values())
    assert kept == round((1.0 - sparsity) * weights)
    assert sparsifier.finished
    assert sparsifier.sparsity() == pytest.approx(1 - kept / weights)
    assert_zeros(net, sparsifier)


def test_apply_zeroes_what_was_loaded(make_net):
    net, fresh = make_net(4, 8, 2), make_net(4, 8, 2, seed=5)
    sparsifier = sparsify(net)
    sparsifier.step(1.0)
    net.load_state_dict(fresh.state_dict())
    assert net[0].weight.all()
    sparsifier.apply()
    assert_zeros(net, sparsifier)


def test_inf_and_negative_weights_become_plain_zero(make_net):
    net = make_net(4, 8, 2)
    sparsifier = sparsify(net)
    sparsifier.step(1.0)
    with torch.no_grad():
        net[0].weight.fill_(-torch.inf)
    sparsifier.apply()
    pruned = net[0].weight[~sparsifier.masks["0.weight"]]
    assert not pruned.any()
    assert not torch.signbit(pruned).any()


@pytest.mark.parametrize("score", [Magnitude(), Random(7)])
def test_equal_seeds_give_equal_masks(make_net, score):
    def run():
        net = make_net(6, 16, 3)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        sparsifier = sparsify(net, Cubic(to=0.8), score, allocate=global_)
        sparsifier.attach(optimizer, total_updates=40)
        for index in range(40):
            train_step(net, optimizer, index)
        return sparsifier.masks

    first, second = run(), run()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_random_masks_differ_between_seeds_and_nest(make_net):
    one, gradual, other = (make_net(6, 16, 3) for _ in range(3))
    at_once = sparsify(one, OneShot(to=0.8), Random(1))
    at_once.step(1.0)
    slowly = sparsify(gradual, Cubic(to=0.8), Random(1))
    for percent in range(101):
        slowly.step(percent / 100)
    different = sparsify(other, OneShot(to=0.8), Random(2))
    different.step(1.0)
    assert torch.equal(at_once.masks["0.weight"], slowly.masks["0.weight"])
    assert not torch.equal(at_once.masks["0.weight"], different.masks["0.weight"])


def test_global_spares_the_output_layer(make_net):
    net = make_net(4, 64, 64, 2)
    with torch.no_grad():
        net[4].weight.mul_(0.001)
    sparsifier = sparsify(net, OneShot(to=0.9), allocate=global_)
    sparsifier.step(1.0)
    assert int(sparsifier.masks["4.weight"].sum()) >= 50
    assert sparsifier.sparsity() == pytest.approx(0.9)


def test_integer_scores_are_scores():
    class Ranks:
        def score(self, layer):
            return torch.arange(8).view(2, 4)

    sparsifier = sparsify(nn.Linear(4, 2), score=Ranks())
    sparsifier.step(1.0)
    assert sparsifier.masks["weight"].flatten().tolist() == [False] * 4 + [True] * 4


def test_summary(make_net):
    sparsifier = sparsify(make_net(4, 8, 2))
    sparsifier.step(1.0)
    kept = {name: int(mask.sum()) for name, mask in sparsifier.masks.items()}
    lines = sparsifier.summary().splitlines()
    assert lines[0].split() == ["weight", "part", "shape", "kept", "of", "sparsity"]
    first = kept["0.weight"]
    expected = ["0.weight", "module", "8", "x", "4", str(first), "32", f"{1 - first / 32:.4f}"]
    assert lines[1].split() == expected
    assert lines[-1].split() == ["total", "all", "24", "48", "0.5000"]
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1


def test_sparsity_by_name(make_net):
    sparsifier = sparsify(make_net(4, 8, 2))
    sparsifier.step(1.0)
    per_layer = sparsifier.layer_sparsity()
    for name, mask in sparsifier.masks.items():
        assert per_layer[name] == sparsifier.sparsity(name) == 1 - int(mask.sum()) / mask.numel()
    assert sparsifier.sparsity("module") == sparsifier.sparsity()
    with pytest.raises(ValueError, match=r"name: expected one of \['module', '0.weight'"):
        sparsifier.sparsity("actor")


def test_stable_baselines_is_not_imported():
    code = (
        "import sys, torch, sparseagent.prune as prune\n"
        "s = prune.Sparsifier(torch.nn.Linear(4, 2), score=prune.Magnitude(),"
        " schedule=prune.Cubic(to=0.5))\n"
        "s.step(1.0)\n"
        "assert 'stable_baselines3' not in sys.modules\n"
        "assert 'gymnasium' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
