import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseagent.train import tiny_hidden, weight_count


def test_known_sizes():
    assert weight_count(4, (64, 64), 2) == 4480
    assert tiny_hidden(4, 2, weights=4480, depth=2) == (64, 64)
    assert tiny_hidden(4, 2, weights=224, depth=2) == (12, 12)  # 216 weights; 13 would be 247
    assert tiny_hidden(17, 6, weights=1, depth=2) == (1, 1)
    assert tiny_hidden(8, 4, weights=486, depth=1) == (41,)  # 480 or 492: a tie, the wider wins


@given(
    inputs=st.integers(1, 50),
    outputs=st.integers(1, 20),
    weights=st.integers(1, 20_000),
    depth=st.integers(1, 4),
)
def test_no_other_width_is_closer(inputs, outputs, weights, depth):
    (width, *others) = tiny_hidden(inputs, outputs, weights, depth)
    assert others == [width] * (depth - 1)

    def gap(candidate):
        return abs(weight_count(inputs, (candidate,) * depth, outputs) - weights)

    around = range(max(1, width - 3), width + 4)
    assert gap(width) == min(gap(candidate) for candidate in around)
    assert gap(width + 1) > gap(width)  # on a tie the wider one wins


def test_biases_count_where_asked_for():
    assert weight_count(4, (64, 64), 2, biases=True) == 4480 + 64 + 64 + 2
    assert tiny_hidden(4, 2, weights=4610, depth=2, biases=True) == (64, 64)


@pytest.mark.parametrize("name", ["inputs", "outputs", "weights", "depth"])
def test_arguments_below_one_are_named(name):
    arguments = {"inputs": 4, "outputs": 2, "weights": 100, "depth": 2, name: 0}
    with pytest.raises(ValueError, match=f"{name}: expected 1 or more, got 0"):
        tiny_hidden(**arguments)
