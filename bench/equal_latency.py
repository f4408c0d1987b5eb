"""The dense network of equal latency: `python -m bench.equal_latency policy.safetensors ...`.

For each policy file: the widest dense network of as many hidden layers, all of one width, behind
the same normaliser, that is compiled and takes no longer for one observation than the policy of the
file. All of them take turns in one process on one core, on an observation that the policy meets in
the environment that its file notes: dense kernels skip zeros, so one of zeros would flatter them.
What it prints goes into the table of `sparseagent/study/method/tiny_latency.py`; times do not
travel between machines, so a study fixes the widths beforehand.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import sparseagent as sa
from sparseagent.csr import Float32
from sparseagent.environments import noted_environment
from sparseagent.policy import SparsePolicy
from sparseagent.report import measure_latency, pin_core
from sparseagent.train.contenders import compiled, rows_of
from sparseagent.train.parity import sample_observations

CALLS = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the width for each file."""
    parser = argparse.ArgumentParser("equal_latency", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, help="policies of pruned agents")
    parser.add_argument("--widest", type=int, default=64, help="widths from 1 to this are timed")
    parser.add_argument("--calls", type=int, default=CALLS, help="timed calls of each network")
    given = parser.parse_args(arguments)
    for path in given.files:
        policy = sa.load(path)
        env = noted_environment(policy.metadata, str(path))
        if env is None:
            parser.error(f"{path}: expected a policy that notes its environment")
        met = sample_observations(env, sa.compile(policy))[-1:]
        times = latencies(policy, rows_of(met), given.widest, given.calls)
        limit = times.pop("pruned")
        width = equal_width(limit, {int(name): time for name, time in times.items()})
        wider = times.get(str(width + 1), float("nan"))
        print(
            f"{path}: {policy.nnz} weights {limit:.0f} ns; dense of width {width} "
            f"{times[str(width)]:.0f} ns, of width {width + 1} {wider:.0f} ns"
        )
    return 0


def latencies(
    policy: SparsePolicy, observation: Float32, widest: int, calls: int
) -> dict[str, float]:
    """Median nanoseconds of one call: of the policy (`"pruned"`), and of each width.

    Args:
        policy: what the widths are compared with.
        observation: `[1, in]`.
        widest: widths from 1 to this are timed.
        calls: timed calls of each network.
    """
    networks = {"pruned": policy}
    networks |= {str(width): dense_like(policy, width) for width in range(1, widest + 1)}
    with pin_core():
        calling = {name: compiled(network, observation) for name, network in networks.items()}
        return {found.name: found.p50_ns for found in measure_latency(calling, calls=calls)}


def equal_width(limit: float, times: dict[int, float]) -> int:
    """The widest width that takes no longer than `limit`; the quickest one where all do."""
    within = [width for width, time in times.items() if time <= limit]
    return max(within) if within else min(times, key=lambda width: times[width])


def dense_like(policy: SparsePolicy, width: int) -> SparsePolicy:
    """A dense policy with hidden layers of `width` where the given one has its own."""
    torch.manual_seed(0)
    hidden = policy.layers[:-1]
    modules: list[torch.nn.Module] = []
    before = policy.input_size
    for _ in hidden:
        modules += [torch.nn.Linear(before, width), torch.nn.Tanh()]
        before = width
    modules.append(torch.nn.Linear(before, policy.output_size))
    dense = sa.from_torch(torch.nn.Sequential(*modules), observation=policy.observation)
    layers = [
        replace(mine, activation=theirs.activation, alpha=theirs.alpha)
        for mine, theirs in zip(dense.layers, policy.layers, strict=True)
    ]
    return sa.SparsePolicy(sa.chain(layers, policy.observation), policy.head)


if __name__ == "__main__":
    raise SystemExit(main())
