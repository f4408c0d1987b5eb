"""Blocks, N:M and lane-balanced masks: by hand, legal for every shape, and nested."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseagent.prune import NM, Block, LaneBalanced

DEAD = -torch.inf


def table(*rows):
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


def random_scores(rows, columns, seed, levels=None):
    generator = torch.Generator().manual_seed(seed)
    if levels:
        return torch.randint(levels, (rows, columns), generator=generator).float()
    return torch.randn(rows, columns, generator=generator)


def per_group(mask, size):
    """Kept weights in each group of each row, as lists."""
    return [[int(group.sum()) for group in row.split(size)] for row in mask]


# Blocks.


def test_blocks_by_hand():
    scores = torch.tensor([[9.0, 0.0, 1.0], [1.0, 4.0, 1.0], [0.0, 1.0, 3.0], [0.0, 2.0, 3.0]])
    # Means of the 2 x 1 blocks: 5, 2, 1 above 0, 1.5, 3.
    assert torch.equal(Block(2, 1).mask(scores, 4), table("x..", "x..", "..x", "..x"))
    assert torch.equal(Block(2, 1).mask(scores, 6), table("xx.", "xx.", "..x", "..x"))
    assert torch.equal(Block(2, 1).mask(scores, 7), Block(2, 1).mask(scores, 6))
    # Means of the 1 x 2 blocks: 4.5 2.5 0.5 1, and the narrow ones at the edge: 1 1 3 3.
    assert torch.equal(Block(1, 2).mask(scores, 4), table("xx.", "...", "..x", "..x"))


def test_a_block_at_the_edge_is_smaller_and_scored_by_its_mean():
    scores = torch.tensor([[4.0, 1.0], [4.0, 1.0], [5.0, 6.0]])
    assert torch.equal(Block(2, 1).mask(scores, 1), table("..", "..", ".x"))
    assert torch.equal(Block(2, 1).mask(scores, 2), table("..", "..", "xx"))
    assert torch.equal(Block(2, 1).mask(scores, 4), table("x.", "x.", "xx"))
    # A block that does not fit is passed over.
    assert torch.equal(Block(2, 1).mask(-scores, 3), table(".x", ".x", "x."))
    assert torch.equal(Block(7, 9).mask(scores, 6), table("xx", "xx", "xx"))


def test_equal_blocks_are_kept_from_the_first_on():
    assert torch.equal(Block(1, 2).mask(torch.zeros(2, 4), 6), table("xxxx", "xx.."))
    mask = Block(16, 1).mask(torch.zeros(160, 100), 16 * 370)
    blocks = mask.view(10, 16, 100).float().mean(dim=1).flatten()
    assert blocks.nonzero().flatten().tolist() == [*range(370)]


def test_a_block_without_some_of_its_weights_is_scored_by_the_rest():
    scores = torch.tensor([[3.0, 2.0, 1.0], [DEAD, 2.0, DEAD], [DEAD, 5.0, DEAD]])
    assert torch.equal(Block(2, 1).mask(scores, 2), table("x..", "...", ".x."))
    assert torch.equal(Block(2, 1).mask(scores, 4), table("xx.", ".x.", ".x."))
    assert torch.equal(Block(2, 1).mask(scores, 5), table("xxx", ".x.", ".x."))


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    block=st.sampled_from([(16, 1), (4, 1), (1, 1), (2, 3), (1, 8)]),
    levels=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_blocks_are_legal_for_every_shape(*, rows, columns, block, levels, seed, data):
    scores = random_scores(rows, columns, seed, levels)
    height, width = block
    sizes = [
        len(part) * part.shape[1] for band in scores.split(height) for part in band.split(width, 1)
    ]
    kept = data.draw(st.integers(min(sizes), rows * columns))
    mask = Block(*block).mask(scores, kept)
    for band in mask.split(height):
        for part in band.split(width, 1):
            assert part.all() or not part.any()
    assert kept - max(sizes) < int(mask.sum()) <= kept
    if rows % height == columns % width == 0:
        assert int(mask.sum()) == kept // (height * width) * (height * width)
    left = [int(part.sum()) for band in mask.split(height) for part in band.split(width, 1)]
    fewer = data.draw(st.integers(min(size for size in left if size), int(mask.sum())))
    again = Block(*block).mask(scores.masked_fill(~mask, DEAD), fewer)
    assert not (again & ~mask).any()
    assert torch.equal(mask, Block(*block).mask(scores, kept))


# N:M and lane-balanced.


def test_two_of_four_by_hand():
    scores = torch.tensor([[1.0, 4.0, 3.0, 2.0, 0.0, 9.0, 9.0, 9.0]])
    assert torch.equal(NM(2, 4).mask(scores, 4), table(".xx..xx."))
    assert torch.equal(NM(2, 4).mask(scores, 5), table(".xx..xx."))
    assert torch.equal(NM(2, 4).mask(scores, 7), table(".xxx.xxx"))
    assert torch.equal(NM(2, 4).mask(scores, 8), table("xxxxxxxx"))


def test_a_last_group_keeps_its_share_rounded_down_and_at_least_one():
    scores = torch.arange(7.0).view(1, 7)
    assert torch.equal(NM(2, 4).mask(scores, 4), table("..xx..x"))  # floor(2 * 3 / 4) = 1
    assert torch.equal(NM(3, 4).mask(scores, 5), table(".xxx.xx"))  # floor(3 * 3 / 4) = 2
    assert torch.equal(NM(1, 4).mask(scores, 2), table("...x..x"))  # max(1, 0)
    assert per_group(LaneBalanced(4).mask(torch.zeros(3, 81), 30), 32) == [[4, 4, 2]] * 3


def test_a_group_with_fewer_weights_keeps_them():
    scores = torch.tensor([[1.0, DEAD, DEAD, DEAD], [1.0, 2.0, DEAD, 4.0]])
    assert torch.equal(NM(2, 4).mask(scores, 3), table("x...", ".x.x"))


def test_lane_balanced_without_n_takes_what_the_budget_allows():
    scores = random_scores(5, 64, 0)
    for kept, level in [(10, 1), (19, 1), (20, 2), (319, 31), (320, 32)]:
        assert per_group(LaneBalanced().mask(scores, kept), 32) == [[level] * 2] * 5


def test_lane_balanced_keeps_the_highest_of_each_group():
    scores = random_scores(4, 96, 1)
    mask = LaneBalanced(3).mask(scores, 4 * 3 * 3)
    for group, marks in zip(scores.split(32, 1), mask.split(32, 1), strict=True):
        best = torch.zeros_like(marks).scatter_(1, group.topk(3, dim=1).indices, value=True)
        assert torch.equal(marks, best)


@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 100),
    size=st.sampled_from([None, 2, 4, 8, 32]),
    levels=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_balanced_masks_are_legal_for_every_shape(*, rows, columns, size, levels, seed, data):
    scores = random_scores(rows, columns, seed, levels)
    group = size or 32
    pattern = LaneBalanced() if size is None else NM(data.draw(st.integers(1, group)), group)
    fewest = 1 if size is None else pattern.n
    widths = [len(part) for part in torch.zeros(columns).split(group)]

    def quota(level):
        return [max(1, level * width // group) for width in widths]

    kept = data.draw(st.integers(rows * sum(quota(fewest)), rows * columns))
    level = max(n for n in range(fewest, group + 1) if rows * sum(quota(n)) <= kept)
    mask = pattern.mask(scores, kept)
    assert per_group(mask, group) == [quota(level)] * rows
    fewer = data.draw(st.integers(rows * sum(quota(fewest)), int(mask.sum())))
    again = pattern.mask(scores.masked_fill(~mask, DEAD), fewer)
    assert not (again & ~mask).any()
    assert torch.equal(mask, pattern.mask(scores, kept))


def test_counts_have_one_level_in_all_layers():
    layers = [torch.zeros(10, 40), torch.zeros(3, 4)]
    # Level 4 keeps 10 * (4 + 1) and 3 * max(1, 4 * 4 // 32 = 0), level 8 10 * (8 + 2) and 3.
    assert LaneBalanced(4).final_count(layers) == 53
    assert LaneBalanced(4).counts(layers, 53) == [50, 3]
    assert LaneBalanced(4).counts(layers, 103) == [100, 3]
    with pytest.raises(ValueError, match=r"at least 53 of the 412 weights .* 4 of 32 inputs"):
        LaneBalanced(4).counts(layers, 52)


# Refusals.


@pytest.mark.parametrize("pattern", [Block(2, 1), NM(1, 4), LaneBalanced()])
def test_patterns_refuse_nan_and_impossible_counts(pattern):
    with pytest.raises(ValueError, match="scores: expected numbers, got NaN"):
        pattern.mask(torch.tensor([[1.0, float("nan")]]), 1)
    with pytest.raises(ValueError, match="kept: expected 1 to 8 weights, got 9"):
        pattern.mask(torch.zeros(2, 4), 9)


def test_counts_below_the_pattern_are_refused():
    with pytest.raises(ValueError, match=r"at least 16 weights, the smallest block of Block"):
        Block(16, 1).mask(torch.zeros(32, 4), 15)
    with pytest.raises(ValueError, match=r"at least 4 of the 8 .* NM\(n=2, m=4\)"):
        NM(2, 4).mask(torch.zeros(1, 8), 3)
    with pytest.raises(ValueError, match=r"sparsity 0.9688\), where LaneBalanced\(n=None\)"):
        LaneBalanced().mask(torch.zeros(8, 32), 7)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Block(0, 1), ValueError, "rows: expected at least 1, got 0"),
        (lambda: Block(4, 1.0), TypeError, "columns: expected an int, got float"),
        (lambda: NM(5, 4), ValueError, "n: expected 1 to m = 4 kept inputs of a group, got 5"),
        (lambda: NM(0, 4), ValueError, "n: expected at least 1, got 0"),
        (lambda: NM(1, "4"), TypeError, "m: expected an int, got str"),
        (lambda: LaneBalanced(33), ValueError, "n: expected 1 to 32 kept inputs"),
        (lambda: LaneBalanced(0), ValueError, "n: expected at least 1, got 0"),
    ],
)
def test_patterns_refuse_bad_numbers(make, error, message):
    with pytest.raises(error, match=message):
        make()
