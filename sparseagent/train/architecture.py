"""The tiny dense agent: a network without zeros, with as many weights as the pruned one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def weight_count(inputs: int, hidden: Sequence[int], outputs: int, *, biases: bool = False) -> int:
    """Number of weights of a dense chain inputs-hidden...-outputs; biases only where asked for."""
    widths = (inputs, *hidden, outputs)
    if min(widths) < 1:
        raise ValueError(f"widths: expected 1 or more everywhere, got {widths}")
    return sum((a + biases) * b for a, b in pairwise(widths))


def tiny_hidden(
    inputs: int, outputs: int, weights: int, depth: int, *, biases: bool = False
) -> tuple[int, ...]:
    """Hidden layers of equal width whose weight count comes closest to `weights`.

    The count grows strictly with the width, so the best width is one of the two neighbours of the
    crossing. On a tie the wider network wins: the benefit of the doubt goes to the dense agent.

    Args:
        inputs: features the first layer takes, 1 or more.
        outputs: outputs of the last layer, 1 or more.
        weights: weights that the pruned network keeps, 1 or more.
        depth: number of hidden layers, 1 or more.
        biases: whether `weights` counts biases as well.

    Returns:
        `depth` times the same width, at least 1 (even if that is more than `weights` allow).

    Raises:
        ValueError: an argument is below 1.
    """
    for name, value in (
        ("inputs", inputs),
        ("outputs", outputs),
        ("weights", weights),
        ("depth", depth),
    ):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")

    def count(width: int) -> int:
        return weight_count(inputs, (width,) * depth, outputs, biases=biases)

    low, high = 1, 2
    while count(high) < weights:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < weights else (low, middle)
    width = low if abs(count(low) - weights) < abs(count(high) - weights) else high
    return (width,) * depth
