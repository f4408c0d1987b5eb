import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseagent.prune import Unstructured, erk, global_, lamp, uniform

ALLOCATIONS = [
    uniform,
    erk,
    lamp,
    global_,
    partial(global_, floor=0.0),
    partial(global_, floor=1.0),
]

# Densities of the layers, by net (inputs first) and sparsity, to three digits.
ERK_DENSITIES = {
    (17, 256, 256, 12): {
        0.80: (0.921, 0.115, 1.0),
        0.90: (0.435, 0.054, 0.604),
        0.95: (0.217, 0.027, 0.302),
        0.98: (0.087, 0.011, 0.121),
    },
    (376, 256, 256, 34): {
        0.80: (0.156, 0.186, 0.792),
        0.90: (0.078, 0.093, 0.396),
        0.95: (0.039, 0.046, 0.198),
        0.98: (0.016, 0.019, 0.079),
    },
    (8, 256, 256, 4): {
        0.80: (1.0, 0.162, 1.0),
        0.90: (0.97, 0.059, 1.0),
        0.95: (0.427, 0.026, 0.841),
        0.98: (0.171, 0.010, 0.336),
    },
    (4, 512, 512, 2): {
        0.80: (1.0, 0.191, 1.0),
        0.90: (1.0, 0.089, 1.0),
        0.95: (1.0, 0.039, 1.0),
        0.98: (0.70, 0.011, 1.0),
    },
    (8, 64, 64, 4): {
        0.80: (0.51, 0.113, 0.964),
        0.90: (0.255, 0.057, 0.482),
        0.95: (0.128, 0.028, 0.241),
        0.98: (0.051, 0.011, 0.096),
    },
    (1024, 128, 6): {
        0.80: (0.195, 1.0),
        0.90: (0.095, 1.0),
        0.95: (0.045, 0.894),
        0.98: (0.018, 0.358),
    },
    (17, 1024, 1024, 12): {
        0.80: (1.0, 0.177, 1.0),
        0.90: (1.0, 0.075, 1.0),
        0.95: (0.806, 0.026, 1.0),
        0.98: (0.313, 0.010, 0.441),
    },
}


def scores_of(*widths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand(after, before, generator=generator)
        for before, after in itertools.pairwise(widths)
    ]


@pytest.mark.parametrize("widths", ERK_DENSITIES)
def test_erk_densities(widths):
    scores = [torch.zeros(after, before) for before, after in itertools.pairwise(widths)]
    for sparsity, densities in ERK_DENSITIES[widths].items():
        counts = erk(scores, 1.0 - sparsity)
        for layer, count, density in zip(scores, counts, densities, strict=True):
            # Half a unit of the last digit, and the rounding to whole weights.
            assert count / layer.numel() == pytest.approx(density, abs=6e-4 + 1 / layer.numel())


def test_erk_by_hand():
    # 4-2-1: shares in the proportion (4 + 2) : (2 + 1) = 2 : 1 of 6 weights, capped at 2.
    scores = [torch.zeros(2, 4), torch.zeros(1, 2)]
    assert erk(scores, 0.3) == [2, 1]
    assert erk(scores, 0.6) == [4, 2]
    assert erk(scores, 0.8) == [6, 2]
    assert erk(scores, 1.0) == [8, 2]


def test_uniform_gives_the_remainder_to_the_largest_fraction():
    # Half of 5, 7 and 8 weights: 2.5, 3.5 and 4 of 10 in all; the first half wins the tie.
    scores = [torch.zeros(1, 5), torch.zeros(1, 7), torch.zeros(2, 4)]
    assert uniform(scores, 0.5) == [3, 3, 4]
    assert uniform(scores, 0.8) == [4, 6, 6]


def test_every_layer_keeps_a_weight():
    scores = [torch.zeros(100, 100), torch.zeros(1, 3), torch.zeros(1, 2)]
    for allocate in ALLOCATIONS:
        counts = allocate(scores, 0.001)
        assert min(counts) >= 1
        assert sum(counts) == 10


def test_global_by_hand():
    scores = [torch.tensor([[9.0, 8.0, 7.0, 6.0]]), torch.tensor([[5.0, 4.0, 3.0, 2.0]])]
    assert global_(scores, 0.5, floor=0.0) == [3, 1]
    assert global_(scores, 0.75, floor=0.0) == [4, 2]
    assert global_(scores, 0.5, floor=1.0) == erk(scores, 0.5) == [2, 2]
    # The best of the second layer is above the worst of the first.
    scores[1][0, 3] = 8.5
    assert global_(scores, 0.5, floor=0.0) == [3, 1]
    scores[1][0, 2] = 8.7
    assert global_(scores, 0.5, floor=0.0) == [2, 2]


def test_global_without_floor_is_one_threshold():
    scores = scores_of(20, 30, 10)
    counts = global_(scores, 0.2, floor=0.0)
    masks = [Unstructured().mask(s, n) for s, n in zip(scores, counts, strict=True)]
    kept = torch.cat([s[m] for s, m in zip(scores, masks, strict=True)])
    dropped = torch.cat([s[~m] for s, m in zip(scores, masks, strict=True)])
    assert kept.min() > dropped.max()


def test_the_floor_protects_a_layer_of_small_weights():
    # The output layer of a fresh policy, initialised a hundred times smaller than the others.
    scores = scores_of(4, 64, 64, 2)
    scores[2] *= 0.01
    fair = erk(scores, 0.1)
    assert global_(scores, 0.1, floor=0.0)[2] == 1
    assert global_(scores, 0.1)[2] == int(0.5 * fair[2])
    assert global_(scores, 0.1, floor=0.25)[2] == int(0.25 * fair[2])
    assert global_(scores, 0.1, floor=1.0) == fair


@pytest.mark.parametrize("floor", [0.5, 0.9, 1.0])
def test_a_gradual_schedule_leaves_as_much_under_the_floor_as_one_shot(floor):
    scores = scores_of(4, 64, 64, 2)
    scores[2] *= 0.01
    allocate = partial(global_, floor=floor)
    once = allocate(scores, 0.1)
    for step in range(1, 101):
        counts = allocate(scores, 1.0 - 0.9 * step / 100)
        masks = [Unstructured().mask(s, n) for s, n in zip(scores, counts, strict=True)]
        scores = [s.masked_fill(~m, -torch.inf) for s, m in zip(scores, masks, strict=True)]
    assert counts[2] == once[2] == int(floor * 113)
    assert sum(counts) == sum(once)


@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    density=st.floats(0.0, 1.0),
    seed=st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
def test_totals_are_exact(widths, density, seed):
    scores = scores_of(*widths, seed=seed)
    weights = sum(s.numel() for s in scores)
    total = round(density * weights)
    for allocate in ALLOCATIONS:
        if total < len(scores):
            with pytest.raises(ValueError, match="density: expected to keep"):
                allocate(scores, density)
            continue
        counts = allocate(scores, density)
        assert sum(counts) == total
        assert all(1 <= n <= s.numel() for n, s in zip(counts, scores, strict=True))
        assert counts == allocate(scores, density)


@given(
    widths=st.lists(st.integers(1, 12), min_size=3, max_size=5),
    densities=st.lists(st.floats(0.2, 1.0), min_size=2, max_size=6),
    index=st.integers(0, len(ALLOCATIONS) - 1),
)
@settings(max_examples=80, deadline=None)
def test_a_falling_density_never_asks_for_a_pruned_weight(widths, densities, index):
    scores = scores_of(*widths)
    weights = sum(s.numel() for s in scores)
    for density in sorted(densities, reverse=True):
        if round(density * weights) < len(scores):
            break
        alive = [int((s > -torch.inf).sum()) for s in scores]
        counts = ALLOCATIONS[index](scores, density)
        assert sum(counts) == round(density * weights)
        assert all(n <= a for n, a in zip(counts, alive, strict=True))
        masks = [Unstructured().mask(s, n) for s, n in zip(scores, counts, strict=True)]
        scores = [s.masked_fill(~m, -torch.inf) for s, m in zip(scores, masks, strict=True)]


@pytest.mark.parametrize("allocate", ALLOCATIONS)
@pytest.mark.parametrize(
    ("scores", "density", "error", "message"),
    [
        ([], 0.5, ValueError, "scores: expected at least one layer"),
        (torch.zeros(2, 2), 0.5, TypeError, "scores: expected a sequence of one tensor per layer"),
        ([[1.0]], 0.5, TypeError, "scores: expected a sequence of one tensor per layer"),
        ([torch.zeros(2, 2)], 1.5, ValueError, "density: expected a fraction"),
        ([torch.zeros(2, 2)], "1", TypeError, "density: expected a number"),
        ([torch.zeros(2, 2)], 0.0, ValueError, "density: expected to keep 1 .* keeps 0"),
        ([torch.full((2, 2), -torch.inf)], 0.5, ValueError, "score above -inf in every layer"),
        (
            [torch.tensor([[1.0, -torch.inf]])],
            1.0,
            ValueError,
            r"density: expected to keep 1 \(one a layer\) to 1 \(those not pruned yet\)",
        ),
    ],
)
def test_bad_arguments_raise(allocate, scores, density, error, message):
    with pytest.raises(error, match=message):
        allocate(scores, density)


@pytest.mark.parametrize("floor", [-0.1, 1.1])
def test_bad_floor_raises(floor):
    with pytest.raises(ValueError, match="floor: expected a fraction"):
        global_([torch.zeros(2, 2)], 0.5, floor=floor)
