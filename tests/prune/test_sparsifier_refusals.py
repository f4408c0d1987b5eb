"""What a Sparsifier refuses: arguments, attachments, broken scores and patterns."""

import math

import pytest
import torch
from sb3_runs import off_policy
from sparsified import sparsify
from stable_baselines3 import SAC
from torch import nn

from sparseagent.prune import (
    Cubic,
    Magnitude,
    OneShot,
    Random,
    Sparsifier,
    Unstructured,
)


class Fixed:
    """A score, pattern and allocation that answer what they are told to."""

    def __init__(self, answer):
        self.answer = answer

    def score(self, layer):
        return self.answer

    def mask(self, scores, kept):
        return self.answer

    def __call__(self, *args):
        return self.answer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": Fixed(torch.zeros(2, 2))}, r"score: expected \[2, 4\] for 'weight', got"),
        ({"score": Fixed(torch.full((2, 4), torch.nan))}, "score: expected finite scores"),
        ({"score": Fixed(torch.full((2, 4), torch.inf))}, "score: expected finite scores"),
        ({"allocate": Fixed([3])}, r"allocate: expected 4 weights .* got \[3\]"),
        ({"allocate": Fixed([2, 2])}, "allocate: expected 4 weights"),
        ({"pattern": Fixed(torch.ones(2, 4))}, "pattern: expected a bool mask"),
        ({"pattern": Fixed(torch.ones(4, 2) > 0)}, "pattern: expected a bool mask"),
        ({"pattern": Fixed(torch.ones(2, 4) > 0)}, "pattern: expected 1 to 4 kept .* got 8"),
        ({"pattern": Fixed(torch.zeros(2, 4) > 0)}, "pattern: expected 1 to 4 kept .* got 0"),
    ],
)
def test_a_broken_contract_raises(options, message):
    linear = nn.Linear(4, 2)
    with pytest.raises(ValueError, match=message):
        sparsify(linear, **options).step(1.0)
    assert linear.weight.all()


def test_a_pattern_that_revives_raises():
    class Last:
        def mask(self, scores, kept):
            mask = torch.zeros(scores.shape, dtype=torch.bool)
            mask.view(-1)[-kept:] = True
            return mask

    linear = nn.Linear(4, 2)
    unstructured = sparsify(linear, OneShot(to=0.5), Random(0))
    unstructured.step(1.0)
    sparsifier = sparsify(linear, OneShot(to=0.75), pattern=Last())
    assert not unstructured.masks["weight"].view(-1)[-2:].all()
    sparsifier.load_state_dict(unstructured.state_dict())
    with pytest.raises(ValueError, match="none revived"):
        sparsifier.step(1.0)


class Agent:
    policy = nn.Linear(2, 2)


def parametrized():
    return nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("module", "options", "error", "message"),
    [
        (
            Agent(),
            {},
            TypeError,
            "module: expected a torch.nn.Module, got Agent; pass model.policy",
        ),
        ("net", {}, TypeError, "module: expected a torch.nn.Module, got str$"),
        (
            nn.Linear(4, 2),
            {"score": Magnitude},
            TypeError,
            "score: expected an object .* the class",
        ),
        (nn.Linear(4, 2), {"score": "magnitude"}, TypeError, "score: expected an object"),
        (nn.Linear(4, 2), {"pattern": Unstructured}, TypeError, "pattern: expected an object"),
        (nn.Linear(4, 2), {"schedule": 0.9}, TypeError, "schedule: expected a callable"),
        (nn.Linear(4, 2), {"schedule": Cubic}, TypeError, "schedule: expected a callable"),
        (nn.Linear(4, 2), {"schedule": lambda p: 1.0}, ValueError, "schedule.*sparsity in"),
        (
            nn.Linear(4, 2),
            {"schedule": lambda p: 0.9 - 0.5 * p},
            ValueError,
            "schedule: expected a sparsity that never falls",
        ),
        (nn.Linear(4, 2), {"allocate": "erk"}, TypeError, "allocate: expected a callable"),
        (nn.Linear(4, 2), {"every": 0}, ValueError, "every: expected at least 1, got 0"),
        (nn.Linear(4, 2), {"every": 2.5}, TypeError, "every: expected an int, got float"),
        (nn.Linear(4, 2), {"layers": "weight"}, TypeError, "layers: expected a list of names"),
        (nn.Linear(4, 2), {"layers": 3}, TypeError, "layers: expected a list of names"),
        (nn.Linear(4, 2), {"layers": ["bias"]}, ValueError, r"layers: .* \[weight\], got 'bias'"),
        (nn.Linear(4, 2), {"layers": []}, ValueError, "layers: expected at least one nn.Linear"),
        (nn.Conv1d(4, 2, 1), {}, ValueError, "layers: expected at least one nn.Linear"),
        (nn.Linear(4, 2), {"critic_sparsity": 0.5}, ValueError, "critic_sparsity: expected 'auto'"),
        (nn.Linear(4, 2), {"schedule": OneShot(0.99)}, ValueError, "schedule: expected to keep"),
        (parametrized(), {}, ValueError, "expected a plain weight, got a reparametrised one"),
        (nn.LazyLinear(2), {}, ValueError, "uninitialised lazy layer"),
        (nn.Linear(4, 2), {"targets": nn.Linear(5, 2)}, ValueError, r"targets: .* \[2, 5\]"),
        (
            nn.Linear(4, 2),
            {"targets": nn.Conv1d(1, 1, 1)},
            ValueError,
            "targets: expected at least",
        ),
        (
            nn.Linear(4, 2),
            {"targets": [1]},
            TypeError,
            "targets: expected torch.nn.Module, got int",
        ),
    ],
)
def test_bad_arguments_raise(module, options, error, message):
    with pytest.raises(error, match=message):
        sparsify(module, **options)


def test_the_module_is_not_its_own_target():
    linear = nn.Linear(4, 2)
    with pytest.raises(ValueError, match="targets: expected a copy of the module"):
        sparsify(linear, targets=linear)


def test_bad_attachments_raise():
    linear = nn.Linear(4, 2)
    sparsifier = sparsify(linear)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    stranger = torch.optim.SGD([linear.bias], lr=0.1)
    with pytest.raises(TypeError, match=r"optimizer: expected a torch.optim.Optimizer, got Linear"):
        sparsifier.attach(linear, total_updates=5)
    with pytest.raises(ValueError, match="optimizer: expected one that holds a pruned weight"):
        sparsifier.attach(stranger, total_updates=5)
    for count, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="total_updates: expected"):
            sparsifier.attach(optimizer, total_updates=count)
    with pytest.raises(ValueError, match="progress: expected None beside total_updates"):
        sparsifier.attach(optimizer, total_updates=5, progress=lambda: 0.5)
    sparsifier.attach(optimizer, total_updates=5)
    with pytest.raises(ValueError, match="optimizer: expected one that is not attached yet"):
        sparsifier.attach(optimizer, total_updates=5)


@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_bad_progress_raises(progress):
    sparsifier = sparsify(nn.Linear(4, 2))
    with pytest.raises(ValueError, match="progress: expected a fraction"):
        sparsifier.step(progress)
    with pytest.raises(ValueError, match="progress: expected a fraction"):
        sparsifier.advance(progress)


def test_a_part_that_cannot_be_pruned_leaves_the_others_as_they_were():
    class Picky:
        def score(self, layer):
            weight = layer.weight.detach().abs()
            return weight * torch.nan if layer.name.startswith("critic") else weight

    model = off_policy(SAC)
    sparsifier = Sparsifier(model.policy, score=Picky(), schedule=OneShot(to=0.5))
    with pytest.raises(ValueError, match="score: expected finite scores for 'critic"):
        sparsifier.step(1.0)
    assert sparsifier.sparsity() == 0.0
    assert model.policy.actor.mu.weight.all()
