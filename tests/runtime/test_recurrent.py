"""Cells and states: each row alone as in a batch, whatever resets, cuts, threads and layouts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import ISAS, same_bits
from programs import Draft

import sparseagent as sa
from sparseagent.ops.cell import PARTS, Cell, cell_layer
from sparseagent.program import Program, Span, State
from sparseagent.reference import (
    error_bound,
    forward_exact,
    forward_float64,
    step_exact,
)

Float32 = np.ndarray


def matrices(rng: Any, rule: str, inputs: int, units: int) -> tuple[Float32, ...]:
    """Torch's four: weight_ih, weight_hh, bias_ih, bias_hh."""
    rows = (4 if rule == "lstm" else 3) * units
    shapes = ((rows, inputs), (rows, units), (rows,), (rows,))
    return tuple((rng.normal(size=s) / np.sqrt(units)).astype(np.float32) for s in shapes)


def add_cell(
    draft: Draft, rule: str, read: Span, units: int, sparsity: float
) -> tuple[Span, State]:
    """The hidden state, and the state."""
    ih, hh, bias_ih, bias_hh = matrices(draft.rng, rule, read.size, units)
    masks = (draft.rng.random(ih.shape) >= sparsity, draft.rng.random(hh.shape) >= sparsity)
    layer = cell_layer(rule, ih, hh, (bias_ih, bias_hh), masks)
    state, write = draft.slot(PARTS[rule] * units), draft.slot(PARTS[rule] * units)
    draft.ops.append(Cell((read, state), (write,), layer, rule))
    return Span(write.slot, 0, units), State(state.slot, write)


def recurrent(rng: Any, inputs: int = 7, sizes: tuple[int, ...] = (24, 19)) -> sa.SparsePolicy:
    """A layer, a cell of each rule behind it, a head that also sees the observation."""
    draft = Draft(rng)
    span = first = draft.observe("observation", sa.Observation((inputs,)))
    span = draft.linear((span,), 20, activation="tanh")
    states = {}
    for number, units in enumerate(sizes):
        rule = ("lstm", "gru")[number % 2]
        span, states[f"{rule}{number}"] = add_cell(draft, rule, span, units, 0.7)
    action = draft.linear((span, first), 4, activation="identity")
    program = Program(draft.slots, tuple(draft.ops), {"action": action, "value": span}, states)
    return sa.SparsePolicy(program, sa.Argmax())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", [1, 3, 8, 16, 21, 70])
@pytest.mark.parametrize("threads", [1, 3])
def test_episodes_have_the_bits_of_the_reference(isa: str, batch: int, threads: int) -> None:
    rng = np.random.default_rng(batch)
    policy = recurrent(rng)
    act = sa.compile(policy, isa=isa, threads=threads, tune=0)
    state, known = None, np.zeros((batch, policy.program.state_size), np.float32)
    for step in range(12):
        rows = rng.normal(size=(batch, 7)).astype(np.float32)
        if step == 5:
            rows[0, 0] = np.nan  # is gone after the next reset
        starts = rng.random(batch) < (0.3 if step else 1.0)
        starts[0] |= step == 8
        known = np.where(starts[:, None], np.float32(0), known)
        outputs, state = act.step(rows, state, starts)
        expected, known = step_exact(policy.program, rows, known)
        assert same_bits(outputs["action"], expected), step
        assert same_bits(np.asarray(state), known), step
    assert np.isfinite(known[0]).all()


def test_a_thousand_steps_alone_and_in_a_batch() -> None:
    rng = np.random.default_rng(1)
    policy = recurrent(rng, sizes=(24,)).repack("avx512")
    act = sa.compile(policy, tune=0)
    batch = 19
    together, alone = None, [None] * batch
    watched = (0, 7, 18)
    for _ in range(1000):
        rows = rng.normal(size=(batch, 7)).astype(np.float32)
        starts = rng.random(batch) < 0.02
        actions, together = act.predict(rows, together, starts)
        shown = np.asarray(together) if starts[0] else None
        for row in watched:
            action, alone[row] = act.predict(rows[row], alone[row], starts[row])
            assert action == actions[row]
            if shown is not None:
                assert same_bits(np.asarray(alone[row]), shown[row])


def test_two_plans_take_each_others_states_and_arrays() -> None:
    rng = np.random.default_rng(2)
    policy = recurrent(rng)
    rows = rng.normal(size=(21, 7)).astype(np.float32)
    known = np.zeros((21, policy.program.state_size), np.float32)
    _, known = step_exact(policy.program, rows, known)
    wide, narrow = (sa.compile(policy, isa=isa, tune=0) for isa in (ISAS[-1], ISAS[0]))
    _, state = narrow.step(rows)
    before = np.asarray(state).copy()
    assert state.shape == (21, policy.program.state_size)
    expected, _ = step_exact(policy.program, rows, known)
    for given in (state, known, known.astype(np.float64)):
        assert same_bits(wide.step(rows, given)[0]["action"], expected)
    assert same_bits(np.asarray(state), before)  # a call leaves what it was given


@pytest.mark.parametrize("rule", ["lstm", "gru"])
def test_numbers_are_those_of_torch(rule: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    cell = (torch.nn.LSTM if rule == "lstm" else torch.nn.GRU)(6, 9)
    parts = matrices(rng, rule, 6, 9)
    for own, given in zip(cell.parameters(), parts, strict=True):
        own.data = torch.tensor(given)
    draft = Draft(rng)
    read = draft.observe("observation", sa.Observation((6,)))
    state, write = draft.slot(9 * PARTS[rule]), draft.slot(9 * PARTS[rule])
    layer = cell_layer(rule, parts[0], parts[1], (parts[2], parts[3]))
    draft.ops.append(Cell((read, state), (write,), layer, rule))
    hidden = Span(write.slot, 0, 9)
    program = Program(
        draft.slots, tuple(draft.ops), {"action": hidden}, {"cell": State(state.slot, write)}
    )
    act = sa.compile(sa.SparsePolicy(program), tune=0)
    rows = rng.normal(size=(100, 4, 6)).astype(np.float32)
    with torch.no_grad():
        expected = cell(torch.tensor(rows))[0].numpy()
    memory = None
    for step, batch in enumerate(rows):
        outputs, memory = act.step(batch, memory)
        assert np.abs(outputs["action"] - expected[step]).max() < 1e-5
    exact, wide = forward_exact(program, rows[0]), forward_float64(program, rows[0])
    assert (np.abs(exact - wide) <= error_bound(program, rows[0])).all()
    assert np.abs(wide - expected[0]).max() < 1e-6


def test_files_orders_and_updates_keep_the_states() -> None:
    rng = np.random.default_rng(4)
    policy = recurrent(rng).with_golden(rng.normal(size=(3, 7)).astype(np.float32))
    again = sa.load(policy.to_bytes())
    assert again.to_bytes() == policy.to_bytes()
    assert again.program.states == policy.program.states
    rows = rng.normal(size=(5, 7)).astype(np.float32)
    act = sa.compile(again, tune=0)
    values = [
        -layer.weight.values if isinstance(layer.weight, sa.CSR) else -layer.weight
        for layer in again.layers
    ]
    changed = again.with_values(values, [layer.bias for layer in again.layers])
    act.update(changed)
    assert same_bits(act.step(rows)[0]["action"], forward_exact(changed.program, rows))


def test_calls_that_would_forget_a_state_are_refused() -> None:
    rng = np.random.default_rng(5)
    act = sa.compile(recurrent(rng), tune=0)
    rows = rng.normal(size=(3, 7)).astype(np.float32)
    for call in (lambda: act(rows), lambda: act.outputs(rows), lambda: act(rows[0], rows[0, :4])):
        with pytest.raises(ValueError, match="recurrent: expected predict or step"):
            call()
    act.prefetch()
    assert act.time(rows, 2).shape == (2,)
    _, state = act.predict(rows)
    with pytest.raises(ValueError, match=r"state: expected one of \[2, 67\].*got \[3, 67\]"):
        act.predict(rows[:2], state)
    with pytest.raises(ValueError, match="state: expected what the last call gave"):
        act.predict(rows, np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"episode_start: expected \[3\] of booleans"):
        act.predict(rows, state, [True])
    feed_forward = sa.compile(sa.SparsePolicy(_plain(rng)), tune=0)
    assert feed_forward.predict(rows, "anything")[1] == "anything"


def _plain(rng: Any) -> Program:
    draft = Draft(rng)
    read = draft.observe("observation", sa.Observation((7,)))
    out = draft.linear((read,), 2, activation="identity")
    return Program(draft.slots, tuple(draft.ops), {"action": out})


def test_states_that_do_not_fit() -> None:
    program = recurrent(np.random.default_rng(6)).program
    name, state = next(iter(program.states.items()))
    for other, message in (
        (State("nowhere", state.next), "expected a slot and a span of its size"),
        (State(state.slot, replace(state.next, stop=3)), "expected a slot and a span of its size"),
        (State(state.next.slot, state.next), "to be written before it is read"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(program, states={**program.states, name: other})


def test_a_rollout_carries_the_state() -> None:
    gym = pytest.importorskip("gymnasium")
    rng = np.random.default_rng(7)
    policy = recurrent(rng, inputs=4)
    policy = sa.SparsePolicy(
        replace(policy.program, outputs={"action": _first_two(policy.program)}), sa.Argmax()
    )
    act = sa.compile(policy, tune=0)
    one = sa.rollout(act, "CartPole-v1", episodes=6, num_envs=1, seed=3)
    many = sa.rollout(act, "CartPole-v1", episodes=6, num_envs=3, seed=3)
    assert np.array_equal(one.returns, many.returns)
    assert gym is not None


def _first_two(program: Program) -> Span:
    span = program.outputs["action"]
    return Span(span.slot, 0, 2)


def test_collect_refuses_a_policy_whose_states_it_would_lose() -> None:
    pytest.importorskip("gymnasium")
    act = sa.compile(recurrent(np.random.default_rng(0)), tune=0)
    with pytest.raises(ValueError, match="act: expected a policy without memory"):
        sa.collect(act, "CartPole-v1", 2, deterministic=True)
