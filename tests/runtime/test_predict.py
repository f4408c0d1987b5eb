"""predict(): the observation step, the head, and every type of observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import random_policy, same_bits

import sparseagent as sa
from sparseagent.reference import forward_exact

RNG = np.random.default_rng(4)
ROWS = 5 * RNG.normal(size=(37, 12))


def step(shape: tuple[int, ...] = (12,), **bounds: float) -> sa.Observation:
    return sa.Observation(
        shape,
        "float64",
        RNG.normal(size=12),
        0.1 + RNG.random(12),
        **{"low": -2, "high": 3, **bounds},
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int8", "int32", "int64", "bool"])
@pytest.mark.parametrize("plain", [True, False])
def test_every_type_of_observation(dtype: str, plain: bool) -> None:
    observation = sa.Observation((12,)) if plain else step()
    policy = random_policy(RNG, (12, 30, 4), 0.5, observation=observation)
    rows = np.abs(ROWS).astype(dtype)
    actions, state = sa.compile(policy).predict(rows)
    assert state is None
    assert same_bits(actions, forward_exact(policy.program, rows))


@pytest.mark.parametrize("plain", [True, False])
def test_any_byte_but_0_is_true(plain: bool) -> None:
    observation = sa.Observation((12,)) if plain else step()
    policy = random_policy(RNG, (12, 30, 4), 0.5, observation=observation)
    rows = RNG.integers(0, 4, (37, 12)).astype(np.uint8).view(np.bool_)
    actions, _ = sa.compile(policy).predict(rows)
    assert same_bits(actions, forward_exact(policy.program, rows.view(np.uint8) != 0))


def test_the_step_equals_its_numpy_form_bit_for_bit() -> None:
    """A 1-1 identity layer shows what the network was given."""
    policy = sa.SparsePolicy(
        sa.chain((sa.Layer(np.eye(12, dtype=np.float32), np.zeros(12, np.float32)),), step())
    )
    for rows in (ROWS, ROWS.astype(np.float32)):
        got, _ = sa.compile(policy).predict(rows)
        assert same_bits(got, policy.observation.apply(rows) + np.float32(0))


@pytest.mark.parametrize(
    "head",
    [sa.Raw(), sa.Argmax(), sa.clip_to([-0.5] * 4, [0.25] * 4), sa.unscale_to([-3] * 4, [1] * 4)],
)
def test_heads(head: sa.Head) -> None:
    policy = random_policy(RNG, (12, 30, 4), 0.5, observation=step(), head=head)
    act = sa.compile(policy)
    expected = head.apply(forward_exact(policy.program, ROWS))
    actions, _ = act.predict(ROWS)
    assert same_bits(actions, expected)
    one, _ = act.predict(ROWS[5])
    assert one.shape == policy.action_shape
    assert same_bits(np.asarray(one), np.asarray(expected[5]))


def test_argmax_ties_and_nan() -> None:
    outputs = np.array(
        [[1, 3, 3], [np.nan, 5, 9], [1, np.nan, np.nan], [-0.0, 0.0, 0.0]], np.float32
    )
    layer = sa.Layer(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    sparse = sa.Layer(sa.CSR.from_dense(layer.weight), layer.bias)
    policy = sa.SparsePolicy(sa.chain((sparse,), sa.Observation((3,))), sa.Argmax())
    actions, _ = sa.compile(policy).predict(outputs)
    assert actions.tolist() == outputs.argmax(axis=1).tolist() == [1, 0, 1, 0]


def test_shaped_observations_and_actions() -> None:
    policy = random_policy(
        RNG,
        (12, 8, 6),
        0.2,
        observation=step((3, 4)),
        head=sa.clip_to(-np.ones((2, 3)), np.ones((2, 3))),
    )
    act = sa.compile(policy)
    batch, _ = act.predict(ROWS.reshape(37, 3, 4))
    assert batch.shape == (37, 2, 3)
    single, _ = act.predict(ROWS[0].reshape(3, 4))
    assert single.shape == (2, 3)
    flat, _ = act.predict(ROWS)
    assert same_bits(flat, batch)


def test_lists_strided_and_misaligned_arrays_are_accepted() -> None:
    policy = random_policy(RNG, (12, 8, 2), 0.2)
    act = sa.compile(policy)
    wide = np.repeat(ROWS, 2, axis=1)
    assert same_bits(act.predict(wide[:, ::2])[0], act.predict(ROWS)[0])
    misaligned = np.zeros(ROWS.nbytes + 1, np.uint8)[1:].view(ROWS.dtype).reshape(ROWS.shape)
    misaligned[:] = ROWS
    assert same_bits(act.predict(misaligned)[0], act.predict(ROWS)[0])
    assert same_bits(act.predict(ROWS.tolist())[0], act.predict(ROWS)[0])


@pytest.mark.parametrize("bad", ["text", object(), {"a": 1}, np.zeros(12, np.complex64)])
def test_bad_types(bad: Any) -> None:
    act = sa.compile(random_policy(RNG, (12, 8, 2), 0.2))
    with pytest.raises(TypeError, match="observation: expected"):
        act.predict(bad)


@pytest.mark.parametrize("shape", [(), (11,), (3, 11), (2, 3, 12)])
def test_bad_shapes(shape: tuple[int, ...]) -> None:
    act = sa.compile(random_policy(RNG, (12, 8, 2), 0.2))
    with pytest.raises(ValueError, match=r"observation: expected \[12\] or \[B, 12\], got float64"):
        act.predict(np.zeros(shape))


def test_sampling_is_refused() -> None:
    act = sa.compile(random_policy(RNG, (12, 8, 2), 0.2))
    with pytest.raises(ValueError, match="deterministic: expected True, got False"):
        act.predict(ROWS[0], deterministic=False)


def test_state_is_handed_through() -> None:
    act = sa.compile(random_policy(RNG, (12, 8, 2), 0.2))
    state = (np.zeros(3),)
    assert act.predict(ROWS[0], state, np.array([True]))[1] is state
