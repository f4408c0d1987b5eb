"""Pruned copies of plain networks."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from sb3_runs import ppo
from sparsified import assert_zeros, train_step
from torch import nn
from torch.nn.utils import prune as torch_prune

from sparseagent.prune import LaneBalanced, Random, prune_model, uniform


def test_a_pruned_copy_keeps_its_keys_and_leaves_the_model_alone(make_net):
    net = make_net(10, 5, 3)
    before = copy.deepcopy(net.state_dict())
    small, sparsifier = prune_model(net, 0.6)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert type(small) is type(net)
    assert sparsifier.sparsity() == 1 - round(0.4 * 65) / 65
    assert_zeros(small, sparsifier)
    fresh = make_net(10, 5, 3, seed=9)
    fresh.load_state_dict(small.state_dict())
    x = torch.randn(4, 10)
    assert torch.equal(fresh(x), small(x))


def test_magnitude_by_hand():
    linear = nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, -3.0, 0.5], [-0.25, 0.1, 2.0]]))
    small, _ = prune_model(linear, 0.5)
    assert torch.equal(small.weight, torch.tensor([[1.0, -3.0, 0.0], [0.0, 0.0, 2.0]]))


def test_fine_tuning_keeps_the_zeros(make_net):
    small, sparsifier = prune_model(make_net(10, 8, 3), 0.7, score=Random(0), allocate=uniform)
    optimizer = torch.optim.Adam(small.parameters(), lr=0.05)
    sparsifier.attach(optimizer)
    before = copy.deepcopy(small.state_dict())
    for index in range(5):
        train_step(small, optimizer, index)
        assert_zeros(small, sparsifier)
    assert not torch.equal(small[0].weight, before["0.weight"])


def test_patterns_and_layers(make_net):
    small, sparsifier = prune_model(
        make_net(64, 32, 4), 0.75, pattern=LaneBalanced(8), layers=["0"]
    )
    assert (small[0].weight.view(32, 2, 32) != 0).sum(dim=2).eq(8).all()
    assert small[2].weight.all()
    assert list(sparsifier.masks) == ["0.weight"]


def test_what_torch_has_pruned_stays_pruned(make_net):
    net = make_net(10, 8, 3)
    torch_prune.random_unstructured(net[0], "weight", amount=0.5)
    net(torch.randn(2, 10)).sum().backward()
    gone = ~net[0].weight_mask.bool()
    small, sparsifier = prune_model(net, 0.8)
    assert not small[0].weight[gone].any()
    assert sparsifier.sparsity() == pytest.approx(0.8, abs=0.01)
    assert "weight_orig" in dict(net[0].named_parameters())
    same, _ = prune_model(net, 0.0)
    assert torch.equal(same[0].weight == 0, gone)


def test_a_policy_can_be_copied_right_after_learning():
    """Its last distribution of actions still has a history."""
    model = ppo()
    model.learn(32)
    small, sparsifier = prune_model(model.policy, 0.5)
    assert_zeros(small, sparsifier)
    assert small.action_dist.distribution.loc.is_leaf
    assert not model.policy.action_dist.distribution.loc.is_leaf
    x = torch.zeros(1, 3)
    assert torch.equal(small.predict_values(x), model.policy.predict_values(x))


def test_refusals(make_net):
    with pytest.raises(ValueError, match=r"sparsity: expected a sparsity in \[0, 1\)"):
        prune_model(make_net(10, 5, 3), 90)
    with pytest.raises(TypeError, match="model: expected a torch"):
        prune_model(make_net(10, 5, 3).state_dict(), 0.5)


def test_the_supervised_example(tmp_path, capsys):
    """A 10-5-3 network: trained, pruned, saved, reloaded into its class, fine-tuned."""
    path = Path(__file__).resolve().parents[2] / "examples" / "supervised.py"
    spec = importlib.util.spec_from_file_location("supervised", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    result = example.main(sparsity=0.6, epochs=30, out=tmp_path / "small.pt")
    capsys.readouterr()
    assert result["dense"] > 0.9
    assert result["fine-tuned"] > 0.9
    assert result["reloaded"] == result["fine-tuned"]
    assert result["trained on"] > 0.9
    state = torch.load(tmp_path / "small.pt", weights_only=True)
    kept = sum(int((state[name] != 0).sum()) for name in ("hidden.weight", "output.weight"))
    assert kept == round(0.4 * 65)
