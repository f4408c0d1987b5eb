import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseagent.prune import effective_weights


def mask(rows):
    return torch.tensor(rows, dtype=torch.bool)


def test_by_hand():
    first = mask([[1, 0], [0, 0], [1, 1]])  # neuron 1 hears no input
    second = mask([[1, 1, 0], [0, 1, 0]])  # neuron 2 is heard by nobody; output 1 hears neuron 1
    assert effective_weights([first, second]) == 2
    assert effective_weights([first]) == 3
    assert effective_weights([first, torch.ones(2, 3, dtype=torch.bool)]) == 3 + 4


def test_dense_counts_all_and_a_cut_counts_none():
    dense = [torch.ones(5, 3, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool)]
    assert effective_weights(dense) == 25
    assert effective_weights([dense[0], torch.zeros(2, 5, dtype=torch.bool)]) == 0
    # Both layers keep weights, but no path leads through.
    assert effective_weights([mask([[1, 1], [0, 0]]), mask([[0, 1]])]) == 0


@given(
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    density=st.floats(0.1, 0.9),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_against_counting_paths(widths, density, seed):
    rng = np.random.default_rng(seed)
    masks = [rng.random((b, a)) < density for a, b in itertools.pairwise(widths)]

    def paths(chain, size):
        count = np.eye(size, dtype=np.int64)
        for m in chain:
            count = m.astype(np.int64) @ count
        return count

    expected = 0
    for k, m in enumerate(masks):
        into = paths(masks[:k], widths[0]).sum(axis=1)
        out_of = paths(masks[k + 1 :], m.shape[0]).sum(axis=0)
        expected += int((m & (out_of[:, None] > 0) & (into[None, :] > 0)).sum())
    assert effective_weights([torch.from_numpy(m) for m in masks]) == expected


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ([], ValueError, "at least one mask"),
        ([torch.ones(2, 2)], TypeError, r"masks_in_order\[0\]: expected a bool tensor, got torch"),
        ([[[True]]], TypeError, "expected a bool tensor, got list"),
        ([torch.ones(2, dtype=torch.bool)], ValueError, r"the shape \[out, in\]"),
        (
            [torch.ones(2, 3, dtype=torch.bool), torch.ones(4, 3, dtype=torch.bool)],
            ValueError,
            r"masks_in_order\[1\]: expected 2 columns.* got 3",
        ),
    ],
)
def test_bad_arguments_raise(masks, error, message):
    with pytest.raises(error, match=message):
        effective_weights(masks)
