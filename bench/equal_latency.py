"""The dense network of equal latency: `python -m bench.equal_latency policy.safetensors ...`.

For each policy file: the widest dense network of as many hidden layers, all of one width, behind
the same normaliser, that is compiled and takes no longer for one observation than the policy of the
file. All of them take turns in one process on one core, on an observation that the policy meets in
the environment that its file notes: dense kernels skip zeros, so one of zeros would flatter them.
What it prints goes into the table of `sparseagent/study/method/tiny_latency.py`; times do not
travel between machines, so a study fixes the widths beforehand. Before anything is trained it takes
the study's file: `python -m bench.equal_latency bench/studies/values.yaml --method gmp` makes fresh
policies, pruned at once as that method prunes in the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import sparseagent as sa
from sparseagent.csr import Float32
from sparseagent.environments import noted_environment
from sparseagent.policy import SparsePolicy
from sparseagent.report import measure_latency, pin_core
from sparseagent.study.cells import Cell, cells_of, select_seeds
from sparseagent.study.config import load_study
from sparseagent.train.agent import make_envs, make_model
from sparseagent.train.contenders import compiled, rows_of
from sparseagent.train.parity import sample_observations
from sparseagent.train.strategy import make_sparsifier

CALLS = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the width for each file."""
    parser = argparse.ArgumentParser("equal_latency", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, help="policies of pruned agents, or studies")
    parser.add_argument("--method", help="the method of a study, such as gmp_inputs")
    parser.add_argument("--widest", type=int, default=64, help="widths from 1 to this are timed")
    parser.add_argument("--calls", type=int, default=CALLS, help="timed calls of each network")
    given = parser.parse_args(arguments)
    if given.method is None and any(path.suffix == ".yaml" for path in given.files):
        parser.error("--method: expected the name of a method beside a study, got none")
    for name, env, policy in _policies(given.files, given.method):
        if env is None:
            parser.error(f"{name}: expected a policy that notes its environment")
        met = sample_observations(env, sa.compile(policy))[-1:]
        times = latencies(policy, rows_of(met), given.widest, given.calls)
        limit = times.pop("pruned")
        width = equal_width(limit, {int(name): time for name, time in times.items()})
        wider = times.get(str(width + 1), float("nan"))
        print(
            f"{name}: {policy.nnz} weights {limit:.0f} ns; dense of width {width} "
            f"{times[str(width)]:.0f} ns, of width {width + 1} {wider:.0f} ns"
        )
    return 0


def _policies(
    paths: Sequence[Path], method: str | None
) -> Iterator[tuple[str, str | None, SparsePolicy]]:
    """Name, environment and policy of each file, and of each cell of a study's method."""
    for path in paths:
        if path.suffix != ".yaml":
            policy = sa.load(path)
            yield str(path), noted_environment(policy.metadata, str(path)), policy
            continue
        cells = cells_of(load_study(path))
        for cell in select_seeds([cell for cell in cells if cell.method.name == method], 1):
            yield str(cell), cell.config.env, fresh_policy(cell)


def fresh_policy(cell: Cell) -> SparsePolicy:
    """An untrained policy of a cell, pruned at once to where the cell's training would end."""
    envs = make_envs(cell.config, cell.seed)
    model = make_model(cell.config, envs, cell.seed)
    make_sparsifier(cell.config, model.policy, cell.seed).step(1.0)
    statistics = model.get_vec_normalize_env()
    policy = sa.from_sb3(model, vecnormalize=False if statistics is None else statistics)
    envs.close()
    return policy


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
