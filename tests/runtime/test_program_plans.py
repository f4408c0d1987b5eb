"""Plans of programs that are no chains: the same bits as the scalar reference, however they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import ISAS, same_bits
from programs import Draft, random_program, rows_for

import sparseagent as sa
from sparseagent import _core
from sparseagent.head import Raw
from sparseagent.ops import Observe
from sparseagent.policyfile import Contents, to_bytes
from sparseagent.program import Program, Span
from sparseagent.reference import forward_exact

BATCHES = (1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 128)


def expected_outputs(program: Program, inputs: list[Any]) -> dict[str, np.ndarray]:
    data = to_bytes(Contents(program, Raw()))
    return {name: _core.reference(data, inputs, n) for n, name in enumerate(program.outputs)}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(40))
def test_every_output_has_the_bits_of_the_reference(seed: int, isa: str) -> None:
    rng = np.random.default_rng(1000 + seed)
    program = random_program(rng)
    rows = rows_for(rng, program, max(BATCHES))
    if seed % 2:
        rows[rng.random(rows.shape) < 0.02] = rng.choice([np.nan, np.inf, -0.0, 1e-42, 1e38])
    expected = expected_outputs(program, [rows])
    policy = sa.SparsePolicy(program)
    for threads in (1, 3):
        act = sa.compile(policy, isa=isa, threads=threads, tune=0)
        for batch in BATCHES:
            outputs = act.outputs(rows[:batch])
            assert list(outputs) == ["action", "value"]
            for name, array in outputs.items():
                assert same_bits(array, expected[name][:batch]), (threads, batch, name)
            assert same_bits(act(rows[:batch]), expected["action"][:batch])


@pytest.mark.parametrize("seed", range(8))
def test_tuned_and_repacked_plans_keep_the_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    policy = sa.SparsePolicy(random_program(rng, 12)).repack("avx512")
    rows = rows_for(rng, policy.program, 67)
    act = sa.compile(policy, tune=5)
    expected = forward_exact(policy.program, rows)
    assert same_bits(act(rows), expected)
    again = sa.compile(policy, tune=act.tuning)
    assert same_bits(again(rows[:1]), expected[:1])
    assert "whole network" in act.explain()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_normalised_observations_have_the_bits_of_the_formula(precision: str, isa: str) -> None:
    rng = np.random.default_rng(5)
    for width in (1, 2, 7, 8, 16, 17, 33, 204):
        shift, scale = rng.normal(size=width), rng.uniform(0.01, 20, width)
        step = sa.Observation((width,), "float64", shift, scale, -3.0, 4.0, precision)
        whole = Span("x", 0, width)
        program = Program({"x": width}, (Observe((), (whole,), "x", step),), {"action": whole})
        x = rng.normal(scale=30, size=(40, width))
        odd = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-310, 1e300, 1e-42]
        x[rng.random(x.shape) < 0.1] = rng.choice(odd)
        x[0] = shift
        act = sa.compile(sa.SparsePolicy(program), isa=isa, tune=0)
        kind = np.dtype(precision).type
        with np.errstate(over="ignore"):
            both = (x, x.astype(np.float32))
        for given in both:
            with np.errstate(over="ignore", invalid="ignore"):
                z = (given.astype(kind) - shift.astype(kind)) / scale.astype(kind)
            z = np.where(z < kind(-3), kind(-3), z)
            z = np.where(z > kind(4), kind(4), z)
            z = np.where(np.isnan(z), np.float32(np.nan), z.astype(np.float32))
            for batch in (1, 3, 40):
                assert same_bits(act.outputs(given[:batch])["action"], z[:batch])


def dict_program(rng: Any) -> Program:
    draft = Draft(rng)
    whole = draft.slot(3 + 5 + 4)
    draft.observe("velocity", sa.Observation((3,)), Span(whole.slot, 0, 3))
    goal = sa.Observation((2,), "int64", categories=(3, 2))
    draft.observe("goal", goal, Span(whole.slot, 3, 8))
    image = sa.Observation((2, 2), "uint8", scale=np.array([255.0]))
    draft.observe("image", image, Span(whole.slot, 8, 12))
    hidden = draft.linear((whole,), 33, activation="relu")
    skipped = draft.linear((hidden, Span(whole.slot, 3, 8)), 9, activation="tanh")
    return Program(draft.slots, tuple(draft.ops), {"action": skipped})


def dict_rows(rng: Any, batch: int) -> dict[str, np.ndarray]:
    return {
        "velocity": rng.normal(size=(batch, 3)).astype(np.float32),
        "goal": rng.integers(0, 2, (batch, 2)),
        "image": rng.integers(0, 256, (batch, 2, 2), np.uint8),
    }


@pytest.mark.parametrize("isa", ISAS)
def test_dict_observations(isa: str) -> None:
    rng = np.random.default_rng(5)
    policy = sa.SparsePolicy(dict_program(rng), sa.Argmax())
    rows = dict_rows(rng, 40)
    expected = forward_exact(policy.program, rows)
    act = sa.compile(policy, isa=isa, tune=0)
    assert same_bits(act(rows), expected)
    assert same_bits(act.outputs(rows)["action"], expected)
    actions, _ = act.predict(rows)
    assert np.array_equal(actions, expected.argmax(axis=1))
    one = {name: array[0] for name, array in rows.items()}
    assert same_bits(act(one), expected[0])
    assert act.predict(one)[0] == actions[0]


def test_bad_dicts_are_named() -> None:
    rng = np.random.default_rng(5)
    act = sa.compile(sa.SparsePolicy(dict_program(rng)), tune=0)
    rows = dict_rows(rng, 4)
    with pytest.raises(TypeError, match="observation: expected a dict of 3 arrays, got"):
        act.predict(rows["velocity"])
    with pytest.raises(TypeError, match="observations: expected a dict of arrays, got one array"):
        act(rows["velocity"])
    with pytest.raises(TypeError, match="observation: expected a dict with 'goal'"):
        act.predict({"velocity": rows["velocity"]})
    with pytest.raises(ValueError, match="image: expected as many as of the others"):
        act.predict({**rows, "image": rows["image"][:3]})
    with pytest.raises(ValueError, match=r"goal: expected \[2\] or \[B, 2\]"):
        act.predict({**rows, "goal": rows["goal"][:, :1]})


def test_update_of_a_program() -> None:
    rng = np.random.default_rng(9)
    policy = sa.SparsePolicy(random_program(rng, 10))
    rows = rows_for(rng, policy.program, 33)
    act = sa.compile(policy, tune=0)
    values, biases = [], []
    for layer in policy.layers:
        shape = layer.weight.values.shape if isinstance(layer.weight, sa.CSR) else layer.shape
        values.append(rng.normal(size=shape).astype(np.float32))
        biases.append(rng.normal(size=layer.shape[0]).astype(np.float32))
    changed = policy.with_values(values, biases)
    act.update(changed)
    assert same_bits(act(rows), forward_exact(changed.program, rows))


def test_an_image_wide_program_takes_little_memory() -> None:
    """28,224 inputs, as a stack of Atari frames has: 2 MB a thread, not 3 x 128 columns of them."""
    rng = np.random.default_rng(0)
    weight = sa.CSR(
        (64, 28_224),
        np.arange(65, dtype=np.int32) * 20,
        np.concatenate([np.sort(rng.permutation(28_224)[:20]) for _ in range(64)]).astype(np.int32),
        rng.normal(size=1280).astype(np.float32),
    )
    layer = sa.Layer(weight, np.zeros(64, np.float32))
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((84, 84, 4), "uint8")))
    act = sa.compile(policy, tune=0)
    widest = max(regime["observations"] for regime in act.tuning["regimes"])
    floats = 2 * 28_224 + 64 + 2 * 80
    assert 4 * floats * widest < 2 << 20
