"""The connected pattern: every kept weight is of use, and nothing else about the choice changes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparsified import train_step
from torch import nn

from sparseagent.prune import (
    Connected,
    Cubic,
    Magnitude,
    OneShot,
    Sparsifier,
    Unstructured,
    effective_weights,
)


def chosen(scores, counts):
    """The masks of a chain of layers."""
    scores = [torch.tensor(layer, dtype=torch.float32) for layer in scores]
    sources = [None, *range(len(scores) - 1)]
    split = lambda left: list(counts)  # noqa: E731
    return Connected().masks(scores, sources, sum(counts), split, split)


def test_an_unread_neuron_makes_room_for_others():
    # Neuron 2 has the largest weights and is read by nobody.
    first = [[5.0, 1.0], [4.0, 2.0], [9.0, 8.0]]
    second = [[7.0, 6.0, 0.5]]
    masks = chosen([first, second], [3, 2])
    assert masks[0].tolist() == [[True, False], [True, True], [False, False]]
    assert masks[1].tolist() == [[True, True, False]]


def test_a_neuron_without_inputs_makes_room_for_others():
    # The second output keeps its largest weight, but of a neuron that no input reaches.
    first = [[9.0, 8.0], [1.0, 2.0]]
    second = [[5.0, 1.0], [3.0, 4.0]]
    masks = chosen([first, second], [2, 2])
    assert masks[0].tolist() == [[True, True], [False, False]]
    assert masks[1].tolist() == [[True, False], [True, False]]


def test_where_no_choice_is_all_of_use_the_best_one_is_taken():
    masks = chosen([[[1.0], [2.0]], [[3.0, 4.0]]], [1, 2])
    assert [mask.tolist() for mask in masks] == [[[False], [True]], [[True, True]]]
    assert effective_weights(masks) == 2


@given(
    widths=st.lists(st.integers(2, 12), min_size=3, max_size=5),
    share=st.floats(0.05, 1.0),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_as_many_weights_of_each_layer_and_never_fewer_effective_ones(widths, share, seed):
    torch.manual_seed(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    scores = [torch.rand(shape) for shape in shapes]
    for layer in scores:  # some are pruned for good
        layer[torch.rand(layer.shape) < 0.3] = -torch.inf
        layer[0, 0] = 0.5
    counts = [max(1, int(share * int((layer > -torch.inf).sum()))) for layer in scores]
    plain = [Unstructured().mask(layer, n) for layer, n in zip(scores, counts, strict=True)]
    masks = chosen([layer.tolist() for layer in scores], counts)
    assert [int(mask.sum()) for mask in masks] == counts
    assert all(
        not mask[layer == -torch.inf].any() for mask, layer in zip(masks, scores, strict=True)
    )
    assert effective_weights(masks) >= effective_weights(plain)
    if effective_weights(plain) == sum(counts):
        assert all(map(torch.equal, masks, plain))


@pytest.mark.parametrize("to", [0.9, 0.95, 0.98])
def test_a_ramp_ends_with_effective_weights(make_net, to):
    def effective(pattern):
        net = make_net(8, 64, 64, 4)
        sparsifier = Sparsifier(net, score=Magnitude(), schedule=Cubic(to=to), pattern=pattern)
        for percent in range(101):
            sparsifier.step(percent / 100)
        masks = list(sparsifier.masks.values())
        return effective_weights(masks) / sum(int(mask.sum()) for mask in masks)

    assert effective(Connected()) > max(0.95, effective(Unstructured()))


def test_training_goes_on_under_its_masks(make_net):
    net = make_net(8, 32, 32, 4)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sparsifier = Sparsifier(
        net, score=Magnitude(), schedule=Cubic(to=0.95), pattern=Connected(), output_floor=0.2
    )
    sparsifier.attach(optimizer, total_updates=40)
    for index in range(40):
        train_step(net, optimizer, index)
    masks = sparsifier.masks
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.05 * (256 + 1024 + 128))
    assert int(masks["4.weight"].sum()) >= round(0.2 * 128)
    for name, mask in masks.items():
        assert not net.get_parameter(name)[~mask].any()


def test_a_single_layer_has_no_paths():
    with pytest.raises(ValueError, match=r"pattern: expected hidden neurons .* Connected"):
        Sparsifier(
            nn.Linear(8, 4), score=Magnitude(), schedule=OneShot(to=0.5), pattern=Connected()
        )
