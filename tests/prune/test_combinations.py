"""Score x pattern x allocation x growth: whatever is said to fit together trains to its end."""

import itertools

import pytest
import torch
from sparsified import train_step

from sparseagent.prune import (
    NM,
    Block,
    Connected,
    CosineDrop,
    Cubic,
    FanIn,
    Fisher,
    GradientGrowth,
    Hybrid,
    LaneBalanced,
    Magnitude,
    Movement,
    Random,
    RandomGrowth,
    Snip,
    Sparsifier,
    Taylor,
    Unstructured,
    WholeNeurons,
    erk,
    global_,
    lamp,
    uniform,
)

SCORES = [Magnitude(), Random(0), Snip(), Taylor(), Movement(), Fisher()]
GROWABLE = [Unstructured(), Block(4, 1), LaneBalanced(), NM(1, 4)]
PATTERNS = [*GROWABLE, WholeNeurons(), Hybrid(), FanIn(), Connected()]
OWN_SPLIT = (NM(1, 4), WholeNeurons())
GROWTHS = [RandomGrowth(1), GradientGrowth()]


def name_of(value):
    return getattr(value, "__name__", str(value))


def options(scores, patterns, growths):
    """Every combination that is not refused."""
    for score, pattern, grow in itertools.product(scores, patterns, growths):
        split = [None] if pattern in OWN_SPLIT else [erk, uniform, global_, lamp]
        for allocate in split:
            if (allocate, score) != (lamp, Movement()):
                yield pytest.param(
                    score,
                    pattern,
                    allocate,
                    grow,
                    id=",".join(map(name_of, (score, pattern, allocate, grow))),
                )


@pytest.mark.parametrize(
    ("score", "pattern", "allocate", "grow"),
    [*options(SCORES, PATTERNS, [None]), *options([Magnitude(), Taylor()], GROWABLE, GROWTHS)],
)
def test_it_trains_to_the_final_sparsity(make_net, score, pattern, allocate, grow):
    net = make_net(32, 64, 32, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sparsifier = Sparsifier(
        net,
        score=score,
        schedule=Cubic(to=0.75, start=0.25),
        pattern=pattern,
        allocate=allocate,
        grow=grow,
        drop=CosineDrop() if grow else None,
    )
    sparsifier.attach(optimizer, total_updates=12)
    for index in range(12):
        train_step(net, optimizer, index)
    assert sparsifier.finished
    weights = 32 * 64 + 64 * 32 + 32 * 8
    kept = sum(int(mask.sum()) for mask in sparsifier.masks.values())
    # The coarsest shapes are a number per group of 32, and a neuron of all hidden layers.
    slack = {LaneBalanced(): 64 + 64 + 32, WholeNeurons(): 2 * (32 + 64 + 32 + 8)}.get(pattern, 12)
    assert weights // 4 - slack <= kept <= weights // 4
    for name, mask in sparsifier.masks.items():
        assert mask.any()
        assert not net.get_parameter(name)[~mask].any()
        if pattern in GROWABLE:
            assert torch.equal(pattern.mask(mask.float(), int(mask.sum())), mask)


@pytest.mark.parametrize("pattern", [WholeNeurons(), Hybrid(), Connected()])
def test_what_is_chosen_for_all_layers_does_not_grow(make_net, pattern):
    with pytest.raises(ValueError, match=f"grow: .* RandomGrowth with {type(pattern).__name__}"):
        Sparsifier(
            make_net(8, 8, 4),
            score=Magnitude(),
            schedule=Cubic(to=0.5),
            pattern=pattern,
            grow=RandomGrowth(0),
            drop=CosineDrop(),
        )
