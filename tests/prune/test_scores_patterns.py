import importlib
import inspect
import pkgutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseagent import prune
from sparseagent.prune import Magnitude, Random, Unstructured


def test_magnitude_is_the_absolute_value(layer_of):
    layer = layer_of([[1.0, -3.0, 0.5], [-0.25, 0.0, 2.0]])
    expected = torch.tensor([[1.0, 3.0, 0.5], [0.25, 0.0, 2.0]])
    scores = Magnitude().score(layer)
    assert torch.equal(scores, expected)
    assert not scores.requires_grad


def test_scoring_leaves_the_layer_alone(layer_of):
    layer = layer_of([[1.0, -3.0]])
    for score in (Magnitude(), Random(0)):
        score.score(layer).fill_(7.0)
    assert torch.equal(layer.weight, torch.tensor([[1.0, -3.0]]))


def test_random_depends_on_seed_name_and_nothing_else(layer_of):
    zeros, ones = layer_of(torch.zeros(4, 5), "a"), layer_of(torch.ones(4, 5), "a")
    other = layer_of(torch.zeros(4, 5), "b")
    scores = Random(3).score(zeros)
    assert scores.shape == (4, 5)
    torch.rand(10)
    assert torch.equal(scores, Random(3).score(ones))
    assert not torch.equal(scores, Random(4).score(zeros))
    assert not torch.equal(scores, Random(3).score(other))
    assert len(scores.unique()) == 20


@pytest.mark.parametrize("seed", [1.5, "1", True, None])
def test_random_refuses_a_seed_that_is_no_int(seed):
    with pytest.raises(TypeError, match="seed: expected an int"):
        Random(seed)


def test_unstructured_keeps_the_highest_scores():
    scores = torch.tensor([[1.0, 3.0, 0.5], [0.25, 0.0, 2.0]])
    expected = torch.tensor([[True, True, False], [False, False, True]])
    assert torch.equal(Unstructured().mask(scores, 3), expected)


def test_unstructured_breaks_ties_by_the_lowest_index():
    scores = torch.tensor([[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]])
    expected = torch.tensor([[True, True, True], [False, True, False]])
    assert torch.equal(Unstructured().mask(scores, 4), expected)
    many = torch.zeros(100, 100)
    assert Unstructured().mask(many, 3700).flatten().nonzero().flatten().tolist() == [*range(3700)]


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_unstructured_counts_are_exact_and_best(rows, columns, levels, seed, data):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (rows, columns), generator=generator).float()
    scores[torch.rand(rows, columns, generator=generator) < 0.3] = -torch.inf
    scores[0, 0] = 1.0
    kept = data.draw(st.integers(1, int((scores > -torch.inf).sum())))
    mask = Unstructured().mask(scores, kept)
    assert mask.dtype == torch.bool
    assert int(mask.sum()) == kept
    best = sorted(scores.flatten().tolist(), reverse=True)[:kept]
    assert sorted(scores[mask].tolist(), reverse=True) == best


@pytest.mark.parametrize("kept", [0, -1, 4])
def test_unstructured_refuses_a_count_out_of_range(kept):
    scores = torch.tensor([[1.0, 2.0], [3.0, -torch.inf]])
    with pytest.raises(ValueError, match=f"kept: expected 1 to 3 weights, got {kept}"):
        Unstructured().mask(scores, kept)


def test_unstructured_refuses_nan():
    with pytest.raises(ValueError, match="scores: expected numbers, got NaN"):
        Unstructured().mask(torch.tensor([[1.0, float("nan")]]), 1)


@pytest.mark.parametrize(
    ("folder", "method"), [("score", "score"), ("pattern", "mask"), ("growth", "growth")]
)
def test_one_file_is_one_exported_class(folder, method):
    package = importlib.import_module(f"sparseagent.prune.{folder}")
    modules = [name for _, name, _ in pkgutil.iter_modules(package.__path__)]
    assert "protocol" in modules
    for name in modules:
        module = importlib.import_module(f"{package.__name__}.{name}")
        classes = inspect.getmembers(module, inspect.isclass)
        own = [value for _, value in classes if value.__module__ == module.__name__]
        assert len(own) == 1
        assert getattr(prune, own[0].__name__) is own[0]
        assert callable(getattr(own[0], method))
