"""Which inputs a program reads, by hand."""

from dataclasses import replace

import numpy as np
import pytest

import sparseagent as sa
from sparseagent.csr import CSR
from sparseagent.input_use import input_use
from sparseagent.ops import Layer, Linear, Observation, Observe
from sparseagent.ops.conv2d import Conv2d
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.window import Window
from sparseagent.program import Program, Span


def _layer(weight, sparse=True):
    weight = np.array(weight, np.float32)
    bias = np.zeros(len(weight), np.float32)
    return Layer(CSR.from_dense(weight) if sparse else weight, bias)


@pytest.mark.parametrize("sparse", [True, False])
def test_columns_by_hand(sparse):
    layers = [_layer([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]], sparse), _layer([[1.0, 2.0]], sparse)]
    program = sa.chain(layers, Observation((3,)))
    (use,) = input_use(program).values()
    assert use.weights.tolist() == [2, 0, 1]
    assert use.norm.tolist() == [5.0, 0.0, 1.0]
    assert use.share.tolist() == pytest.approx([25 / 26, 0.0, 1 / 26])
    assert use.unused == (1,)


def test_through_maps_spans_and_several_readers():
    """Two inputs in one slot; one half is mapped, both halves are read twice in other places."""
    first, second = Observation((2,)), Observation((2,))
    ops = (
        Observe((), (Span("x", 0, 2),), "a", first),
        Observe((), (Span("x", 2, 4),), "b", second),
        Map((Span("x", 1, 3),), (Span("m", 0, 2),), "tanh"),
        Linear((Span("m", 0, 2),), (Span("h", 0, 1),), _layer([[1.0, 2.0]])),
        Linear((Span("x", 2, 4), Span("h", 0, 1)), (Span("y", 0, 1),), _layer([[2.0, 0.0, 9.0]])),
    )
    program = Program({"x": 4, "m": 2, "h": 1, "y": 1}, ops, {"action": Span("y", 0, 1)})
    use = input_use(program)
    assert use["a"].weights.tolist() == [0, 1]
    assert use["a"].norm.tolist() == [0.0, 1.0]
    assert use["b"].weights.tolist() == [2, 0]
    assert use["b"].norm.tolist() == pytest.approx([8.0**0.5, 0.0])
    assert (use["a"].unused, use["b"].unused) == ((0,), (1,))


def test_what_has_no_weights_counts_as_used():
    ops = (
        Observe((), (Span("x", 0, 3),), "observation", Observation((3,))),
        Norm((Span("x", 0, 2),), (Span("n", 0, 2),), "layer", 1e-5),
        Linear((Span("n", 0, 2),), (Span("y", 0, 1),), _layer([[1.0, 0.0]])),
    )
    outputs = {"action": Span("y", 0, 1), "raw": Span("x", 1, 2)}
    (use,) = input_use(Program({"x": 3, "n": 2, "y": 1}, ops, outputs)).values()
    assert use.weights.tolist() == [1, 2, 0]
    assert np.isnan(use.norm).tolist() == [True, True, False]
    assert use.unused == (2,)


def test_a_policy_knows_what_it_does_not_use():
    layers = [_layer([[3.0, 0.0, 1.0, 0.0]])]
    policy = sa.SparsePolicy(sa.chain(layers, Observation((4,))))
    assert policy.unused_inputs == {"observation": (1, 3)}
    assert policy.summary().splitlines()[-1] == "2 of 4 inputs are not used"
    act = sa.compile(policy)
    first = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    other = np.array([[1.0, np.nan, 3.0, np.inf]], np.float32)
    assert act(first).tobytes() == act(other).tobytes()
    full = sa.SparsePolicy(sa.chain([_layer([[1.0, 2.0]])], Observation((2,))))
    assert full.unused_inputs == {"observation": ()}
    assert "not used" not in full.summary()


def test_a_convolution_counts_at_every_place():
    """A kernel of 1x2 over a row of four pixels in steps of two, its second weight absent."""
    window = Window((1, 1, 4), (1, 2), (1, 2))
    layer = _layer([[3.0, 0.0]])
    ops = (
        Observe((), (Span("x", 0, 4),), "observation", Observation((4,))),
        Conv2d((Span("x", 0, 4),), (Span("y", 0, 2),), layer, window),
    )
    (use,) = input_use(Program({"x": 4, "y": 2}, ops, {"action": Span("y", 0, 2)})).values()
    assert use.weights.tolist() == [1, 0, 1, 0]
    assert use.norm.tolist() == [3.0, 0.0, 3.0, 0.0]
    overlapping = replace(window, stride=(1, 1))
    ops = (
        ops[0],
        Conv2d((Span("x", 0, 4),), (Span("y", 0, 3),), _layer([[3.0, 4.0]]), overlapping),
    )
    (use,) = input_use(Program({"x": 4, "y": 3}, ops, {"action": Span("y", 0, 3)})).values()
    assert use.weights.tolist() == [1, 2, 2, 1]
    assert use.norm.tolist() == [3.0, 5.0, 5.0, 4.0]
