"""What one call from Python costs over the C++ forward: `python -m bench.call_overhead`.

Loops of calls are timed as a whole, so that reading the clock costs nothing per call; the empty
loop is taken off. The forward is timed inside C++ call by call, and what the clock costs there is
taken off too: it is bounded by the time that a net of one weight reports. All of it takes turns
round by round on one observation, so that caches and branch predictors are as warm on both sides.
The policy runs in the order made for the instruction set, as conversion would have written it.
`predict` is timed on the same network behind a normaliser and before a clipping head, as an agent
trained with `VecNormalize` has them.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import sparseagent as sa
from bench import sheet
from bench.contenders import ours
from bench.machine import describe, load_average
from bench.nets import NETS, aligned, observations, random_case
from bench.run import isa_name
from bench.timing import forward_clock_cost

LIMIT_NS = 200.0
FORWARD, INTO, PREDICT = "C++ forward", "act(obs, out)", "act.predict(obs)"
CALLS, ROUNDS = 500, 400


@dataclass(frozen=True)
class Overhead:
    """What calls cost over the forward, in ns.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        forward_ns: median time of the forward in C++.
        into_ns: what `act(obs, out)` takes longer.
        returning_ns: what `act(obs)` takes longer.
        predict_ns: what `act.predict(obs)` takes longer, normaliser and head included.
    """

    net: str
    sparsity: float
    forward_ns: float
    into_ns: float
    returning_ns: float
    predict_ns: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 if `act(obs, out)` costs more than the limit."""
    parser = sheet.arguments("call_overhead", __doc__)
    parser.add_argument("--net", choices=list(NETS), default="M")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--limit", type=float, default=LIMIT_NS, help="ns allowed")
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    case = random_case(NETS[options.net], options.sparsity)
    policy = case.policy.repack(ours.own_order(isa))
    act, agent = (sa.compile(p, threads=1, isa=isa) for p in (policy, as_trained(policy)))
    measured = measure(act, agent, observations(case, 1)[0][0])
    forward = measured[FORWARD]
    print(f"{machine.cpu}, core {machine.core}, isa {act.isa}, commit {machine.commit}")
    print(f"{NETS[options.net].label}, sparsity {options.sparsity}, load {load_average():.2f}")
    print(f"{'':<20}{'ns':>8}{'over the forward':>20}")
    for name, nanoseconds in measured.items():
        print(f"{name:<20}{nanoseconds:>8.0f}{nanoseconds - forward:>20.0f}")
    extra = [measured[name] - forward for name in (INTO, "act(obs)", PREDICT)]
    row = Overhead(options.net, options.sparsity, forward, *extra)
    sheet.write(options.out, [row], machine, isa)
    over = row.into_ns
    verdict = "within" if over <= options.limit else "OVER"
    print(
        f"act(obs, out): {over:.0f} ns over the forward, {verdict} the limit {options.limit:g} ns"
    )
    return 0 if over <= options.limit else 1


def as_trained(policy: sa.SparsePolicy) -> sa.SparsePolicy:
    """The policy behind a normaliser of observations, its actions clipped to a box."""
    width, actions = policy.input_size, policy.output_size
    rng = np.random.default_rng(0)
    observation = sa.Observation(
        policy.observation.shape,
        shift=rng.standard_normal(width),
        scale=rng.uniform(0.5, 2.0, width),
        low=-10.0,
        high=10.0,
    )
    ones = np.ones(actions, np.float32)
    program = sa.chain(policy.layers, observation)
    return replace(policy, program=program, head=sa.Clip(sa.Box(-ones, ones)))


def measure(act: sa.Plan, agent: sa.Plan, observation: Any) -> dict[str, float]:
    """Median ns over rounds of the forward and of each way to call it.

    Args:
        act: the network alone.
        agent: the same with normaliser and head, for `predict`.
        observation: float32 `[in]`.
    """
    out = aligned((act.policy.output_size,))
    loops: dict[str, Callable[[], float]] = {
        FORWARD: lambda: float(np.median(act.time(observation, CALLS))),
        INTO: lambda: _loop_into(act, observation, out),
        "act(obs)": lambda: _loop(act, observation),
        PREDICT: lambda: _loop(agent.predict, observation),
    }
    samples: dict[str, list[float]] = {name: [] for name in loops}
    empty = []
    gc.disable()
    try:
        for _ in range(ROUNDS):
            empty.append(_loop_empty())
            for name, loop in loops.items():
                samples[name].append(loop())
    finally:
        gc.enable()
    medians = {name: float(np.median(values)) for name, values in samples.items()}
    costs = dict.fromkeys(medians, float(np.median(empty)))
    costs[FORWARD] = forward_clock_cost()
    return {name: medians[name] - costs[name] for name in medians}


def _loop_into(act: Callable[[Any, Any], Any], observation: Any, out: Any) -> float:
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, CALLS):
        act(observation, out)
    return (time.perf_counter_ns() - start) / CALLS


def _loop(call: Callable[[Any], Any], observation: Any) -> float:
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, CALLS):
        call(observation)
    return (time.perf_counter_ns() - start) / CALLS


def _loop_empty() -> float:
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, CALLS):
        pass
    return (time.perf_counter_ns() - start) / CALLS


if __name__ == "__main__":
    raise SystemExit(main())
