"""What the compiled plan is checked against: float64 NumPy, and the exact scalar float32 loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent import _core
from sparseagent.csr import Float32, Float64
from sparseagent.head import Raw
from sparseagent.ops import Observe
from sparseagent.policyfile import Contents, Observations, to_bytes
from sparseagent.program import Op, Program

#: The features of every slot, `[B, size]`.
Values = dict[str, Float64]


def forward_float64(program: Program, observations: Observations) -> Float64:
    """The first output in float64, observation steps included: `[B, *shape]` -> `[B, out]`."""
    return _first_output(program, _values(program, observations))


def forward_exact(program: Program, observations: Observations) -> Float32:
    """The arithmetic contract, one fused multiply-add after the other, in stored order.

    `[B, *shape]` -> float32 `[B, out]`, before the action head. Every kernel gives these bits.
    """
    data = to_bytes(Contents(program, Raw()))
    outputs: Float32 = _core.reference(data, list(by_name(program, observations).values()))
    return outputs


def step_exact(
    program: Program, observations: Observations, state: Float32
) -> tuple[Float32, Float32]:
    """`forward_exact` of a recurrent program: `state` `[B, state_size]` -> (output, next state)."""
    data = to_bytes(Contents(program, Raw()))
    given = list(by_name(program, observations).values())
    outputs, after = _core.reference_step(data, given, np.ascontiguousarray(state, np.float32))
    return outputs, after


def error_bound(program: Program, observations: Observations) -> Float64:
    """A bound on |plan - exact real arithmetic| of the first output, float64 `[B, out]`.

    Every op carries the errors of what it reads on and adds its own; see `Op.bound`.
    """
    values = _values(program, observations)

    def bound(op: Op, errors: Values) -> Float64:
        if isinstance(op, Observe):  # exact: the compiled step gives the oracle's bits
            return np.zeros_like(_gathered(values, op.writes)[0])
        return op.bound(_gathered(values, op.reads), _gathered(errors, op.reads))

    batch = len(next(iter(values.values())))
    return _first_output(program, _walk(program, bound, batch))


def by_name(program: Program, observations: Observations) -> dict[str, NDArray[Any]]:
    """The observations by the names of the program's inputs.

    Raises:
        ValueError: an input is missing, or a plain array is given where there are several inputs.
    """
    names = [op.input for op in program.ops if isinstance(op, Observe)]
    if not isinstance(observations, Mapping):
        if len(names) != 1:
            raise ValueError(
                f"observations: expected a mapping with {', '.join(names)}, got one array"
            )
        return {names[0]: np.asarray(observations)}
    if not all(name in observations for name in names):
        raise ValueError(
            f"observations: expected {', '.join(names)}, got {', '.join(map(str, observations))}"
        )
    return {name: np.asarray(observations[name]) for name in names}


def _values(program: Program, observations: Observations) -> Values:
    """What every slot holds, in float64, from states of 0."""
    given = by_name(program, observations)
    batch = len(next(iter(given.values())))

    def compute(op: Op, values: Values) -> Float64:
        if isinstance(op, Observe):
            return op.step.apply(given[op.input]).astype(np.float64)
        return op.float64(*_gathered(values, op.reads))

    return _walk(program, compute, batch)


def _walk(program: Program, compute: Callable[[Op, Values], Float64], batch: int) -> Values:
    """Fills the slots, op by op, with what `compute` makes of those filled before."""
    values: Values = {
        state.slot: np.zeros((batch, program.slots[state.slot]))
        for state in program.states.values()
    }
    for op in program.ops:
        results = compute(op, values)
        start = 0
        for span in op.writes:
            if span.slot not in values:
                values[span.slot] = np.zeros((len(results), program.slots[span.slot]))
            part = results[:, start : start + span.size]
            values[span.slot][:, span.start : span.stop] = part
            start += span.size
    return values


def _gathered(values: Values, spans: Any) -> tuple[Float64, ...]:
    return tuple(values[span.slot][:, span.start : span.stop] for span in spans)


def _first_output(program: Program, values: Values) -> Float64:
    span = next(iter(program.outputs.values()))
    return values[span.slot][:, span.start : span.stop]
