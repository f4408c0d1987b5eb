"""`act(obs, out)`: which arrays it takes, what it says of others, and what it writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import ISAS, random_policy, same_bits

import sparseagent as sa
from sparseagent.reference import forward_exact

RNG = np.random.default_rng(2)
POLICY = random_policy(RNG, (17, 64, 33, 6), 0.8)
ROWS = RNG.normal(size=(257, 17)).astype(np.float32)
EXPECTED = forward_exact(POLICY.program, ROWS)


def bad_arrays() -> list[Any]:
    return [
        ROWS.astype(np.float64),
        ROWS.astype(">f4"),
        ROWS[:, :16],
        ROWS[::2],
        ROWS.T,
        ROWS[None],
        np.float32(1),
    ]


@pytest.mark.parametrize("number", range(len(bad_arrays())))
def test_call_refuses_what_it_would_have_to_convert(number: int) -> None:
    act = sa.compile(POLICY)
    with pytest.raises((ValueError, TypeError)) as caught:
        act(bad_arrays()[number])
    if caught.type is ValueError:
        message = str(caught.value)
        assert message.startswith("observations: expected a C-contiguous float32 [17] or [B, 17]")


def test_call_refuses_a_bad_out() -> None:
    act = sa.compile(POLICY)
    frozen = np.empty((257, 6), np.float32)
    frozen.setflags(write=False)
    for out in (
        np.empty((257, 5), np.float32),
        np.empty((256, 6), np.float32),
        np.empty((257, 6), np.float64),
        np.empty((6, 257), np.float32).T,
        np.empty(6, np.float32),
        frozen,
    ):
        with pytest.raises(
            ValueError, match=r"out: expected a writable C-contiguous float32 \[257"
        ):
            act(ROWS, out)


def test_what_is_wrong_with_an_array_is_said() -> None:
    act = sa.compile(POLICY)
    wide, misaligned = np.zeros((9, 18), np.float32), np.zeros(4 * 17 + 1, np.uint8)[1:]
    frozen = np.empty((9, 6), np.float32)
    frozen.setflags(write=False)
    for arguments, flaw in (
        ((wide[:, :17],), r"\[9, 17\], not C-contiguous$"),
        ((misaligned.view(np.float32),), r"\[17\], misaligned$"),
        ((ROWS[:9], wide[:, :6]), r"\[9, 6\], not C-contiguous$"),
        ((ROWS[:9], frozen), r"\[9, 6\], read-only$"),
    ):
        with pytest.raises(ValueError, match=flaw):
            act(*arguments)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("width", "out"), [(8, 8), (8, 16), (16, 8)])
def test_out_may_overlap_the_observations_only_where_the_result_is_right(
    width: int, out: int, threads: int, isa: str
) -> None:
    policy = random_policy(RNG, (width, 33, out), 0.5)
    act = sa.compile(policy, isa=isa, threads=threads, tune=0)
    memory = np.empty(32 * 300, np.float32)
    for batch in (0, 1, 2, 300):
        rows = RNG.normal(size=(batch, width)).astype(np.float32)
        expected = forward_exact(policy.program, rows)
        for first, start in ((0, 0), (0, 8), (8, 0), (0, rows.size), (expected.size, 0)):
            inputs = memory[first : first + rows.size].reshape(rows.shape)
            outputs = memory[start : start + expected.size].reshape(expected.shape)
            inputs[:] = rows
            apart = not np.may_share_memory(inputs, outputs)
            if apart or batch == 1 or (first == start and width == out):
                act(inputs, outputs)
                assert same_bits(outputs, expected)
            else:
                with pytest.raises(ValueError, match="out: expected memory apart from observ"):
                    act(inputs, outputs)
                assert same_bits(inputs, rows)


def test_one_observation_may_lie_where_its_outputs_go() -> None:
    memory = np.empty(24, np.float32)
    policy = random_policy(RNG, (8, 700, 700, 16), 0.5)
    row = RNG.normal(size=8).astype(np.float32)
    for threads in (1, 3):
        act = sa.compile(policy, threads=threads, tune=0)
        for first in (0, 4, 8):
            memory[first : first + 8] = row
            act(memory[first : first + 8], memory[:16])
            assert same_bits(memory[:16], forward_exact(policy.program, row[None])[0])


def test_out_is_filled_and_nothing_else() -> None:
    act = sa.compile(POLICY)
    canary = np.float32(-12345)
    room = np.full((259, 6), canary)
    act(ROWS, room[1:258])
    assert same_bits(room[1:258], EXPECTED)
    assert (room[[0, 258]] == canary).all()


def test_empty_batch() -> None:
    assert sa.compile(POLICY)(np.empty((0, 17), np.float32)).shape == (0, 6)
