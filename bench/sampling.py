"""What sampling costs on top of the deterministic action: `python -m bench.sampling`.

The call is timed inside C++, observation to action, once deterministic and once sampled with its
log-probability, in turns; what sampling adds is the difference of the two. Every time is that of
the quietest round: the median of its calls, or their mean where Python makes them. Beside it whole
calls from Python, and Stable-Baselines3's `predict(deterministic=False)` of a policy of the same
shape on one thread. Networks are 17-64-64 with the head behind them; a part of what is measured is
the network's, which is the same on both sides.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import sparseagent as sa
from bench import sheet
from bench.machine import describe, load_average
from bench.run import isa_name
from sparseagent.ops import Linear, Observe
from sparseagent.program import Program, Span

WIDTH, LATENT = 17, 64
ROUNDS, CALLS = 60, 100
GOALS = {1: 100.0, 32: 15.0}  # ns a row


@dataclass(frozen=True)
class Cost:
    """One head at one batch size; times of whole calls in ns.

    Attributes:
        head: which.
        numbers: logits, or numbers of an action.
        batch: observations per call.
        deterministic_ns: the action, inside C++.
        sampled_ns: sample and log-probability, inside C++.
        added_ns_per_row: their difference by the batch.
        predict_ns: `act.predict(obs, deterministic=False, seed=, step=)` from Python.
        sample_ns: `act.sample(obs, seed=, step=)`, with the log-probability.
        sb3_ns: `model.policy.predict(obs, deterministic=False)`.
    """

    head: str
    numbers: int
    batch: int
    deterministic_ns: float
    sampled_ns: float
    added_ns_per_row: float
    predict_ns: float
    sample_ns: float
    sb3_ns: float


def policies() -> dict[str, tuple[int, sa.SparsePolicy]]:
    """The heads, by name, with their numbers of outputs."""
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> Any:
        return (rng.standard_normal(shape) / 8).astype(np.float32)

    def policy(head: sa.Head, size: int) -> sa.SparsePolicy:
        sizes = {"x": WIDTH, "a": LATENT, "b": LATENT, "mean": size, "log_std": size}
        spans = {name: Span(name, 0, number) for name, number in sizes.items()}

        def linear(read: str, write: str, activation: str) -> Linear:
            csr = sa.CSR.from_dense(
                floats(sizes[write], sizes[read]), rng.random((sizes[write], sizes[read])) < 0.3
            )
            layer = sa.Layer(csr, floats(sizes[write]), activation)
            return Linear((spans[read],), (spans[write],), layer)

        ops = (
            Observe((), (spans["x"],), "observation", sa.Observation((WIDTH,))),
            linear("x", "a", "tanh"),
            linear("a", "b", "tanh"),
            linear("b", "mean", "identity"),
            linear("b", "log_std", "identity"),
        )
        outputs = {"action": spans["mean"], "log_std": spans["log_std"], "latent": spans["b"]}
        return sa.SparsePolicy(Program(sizes, ops, outputs), head)

    box = sa.clip_to(-np.ones(6), np.ones(6))
    scaled = sa.unscale_to(-np.ones(6), np.ones(6))
    return {
        "categorical": (6, policy(sa.Categorical(), 6)),
        "categorical of 18": (18, policy(sa.Categorical(), 18)),
        "multi-categorical": (12, policy(sa.MultiCategorical((3,) * 4), 12)),
        "Bernoulli": (6, policy(sa.Bernoulli(), 6)),
        "epsilon-greedy": (6, policy(sa.EpsilonGreedy(0.05), 6)),
        "diagonal Gaussian": (6, policy(sa.DiagGaussian(floats(6), bounds=box), 6)),
        "squashed Gaussian": (
            6,
            policy(sa.DiagGaussian(None, (-20, 2), bounds=scaled, squash=True), 6),
        ),
        "gSDE": (6, policy(sa.GSDE(np.abs(floats(LATENT, 6)), 8, bounds=box), 6)),
    }


def stable_baselines3(name: str, numbers: int) -> Callable[[Any], Any] | None:
    """Its policy's `predict` for that head, or None where it has none of the shape."""
    import gymnasium as gym
    import torch
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.dqn.policies import DQNPolicy
    from stable_baselines3.sac.policies import SACPolicy

    torch.set_num_threads(1)
    observations = gym.spaces.Box(-np.inf, np.inf, (WIDTH,))
    box = gym.spaces.Box(-1, 1, (numbers,))
    spaces: dict[str, Any] = {
        "multi-categorical": gym.spaces.MultiDiscrete([3] * 4),
        "Bernoulli": gym.spaces.MultiBinary(numbers),
        "diagonal Gaussian": box,
        "squashed Gaussian": box,
        "gSDE": box,
    }
    space = spaces.get(name, gym.spaces.Discrete(numbers))
    if name == "epsilon-greedy":
        policy: Any = DQNPolicy(observations, space, lambda _: 1e-3, [LATENT] * 2)
    elif name == "squashed Gaussian":
        policy = SACPolicy(observations, space, lambda _: 1e-3, [LATENT] * 2)
    else:
        policy = ActorCriticPolicy(observations, space, lambda _: 1e-3, use_sde=name == "gSDE")
    return lambda obs: policy.predict(obs, deterministic=False)


def measure(name: str, numbers: int, policy: sa.SparsePolicy, batch: int, isa: str) -> Cost:
    """The quietest round of each way, all ways in turns."""
    act = sa.compile(policy, isa=isa, threads=1)
    obs = np.random.default_rng(1).standard_normal((batch, WIDTH)).astype(np.float32)
    steps = itertools.count()
    theirs = stable_baselines3(name, numbers)
    ways: dict[str, Callable[[], float]] = {
        "deterministic": lambda: float(np.median(act._time_act(obs, CALLS, False))),
        "sampled": lambda: float(np.median(act._time_act(obs, CALLS, True))),
        "predict": lambda: loop(
            lambda: act.predict(obs, deterministic=False, seed=0, step=next(steps)), CALLS
        ),
        "sample": lambda: loop(lambda: act.sample(obs, seed=0, step=next(steps)), CALLS),
    }
    if theirs is not None:
        ways["sb3"] = lambda: loop(lambda: theirs(obs), 3)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, timed in ways.items():
            times[way].append(timed())
    best = {way: min(values) for way, values in times.items()}
    added = (best["sampled"] - best["deterministic"]) / batch
    return Cost(
        name,
        numbers,
        batch,
        best["deterministic"],
        best["sampled"],
        added,
        best["predict"],
        best["sample"],
        best.get("sb3", float("nan")),
    )


def loop(call: Callable[[], Any], calls: int) -> float:
    """Mean ns of a call."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start) / calls


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 if a small head costs more than the goal."""
    options = sheet.arguments("sampling", __doc__).parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    print(f"{machine.cpu}, core {machine.core}, isa {isa}, commit {machine.commit}")
    print(f"load {load_average():.2f}; ns")
    print(
        f"{'head':<20}{'B':>4}{'deterministic':>15}{'sampled':>9}{'added a row':>13}"
        f"{'predict':>9}{'sample':>8}{'SB3 predict':>13}"
    )
    rows, over = [], False
    for name, (numbers, policy) in policies().items():
        for batch in (1, 8, 32):
            row = measure(name, numbers, policy, batch, isa)
            rows.append(row)
            small = name in ("categorical", "diagonal Gaussian")
            over |= small and row.added_ns_per_row > GOALS.get(batch, np.inf)
            print(
                f"{name:<20}{batch:>4}{row.deterministic_ns:>15.0f}{row.sampled_ns:>9.0f}"
                f"{row.added_ns_per_row:>13.1f}{row.predict_ns:>9.0f}{row.sample_ns:>8.0f}"
                f"{row.sb3_ns:>13.0f}"
            )
    sheet.write(options.out, rows, machine, isa)
    print(
        f"small categorical and Gaussian: {'OVER' if over else 'within'} the goal of "
        f"{GOALS[1]:g} ns for one row, {GOALS[32]:g} ns a row at 32"
    )
    return int(over)


if __name__ == "__main__":
    raise SystemExit(main())
