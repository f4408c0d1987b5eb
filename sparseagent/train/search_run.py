"""The search for the sparsest agent on a run: dense agents once, then candidate after candidate."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparseagent.report import iqm
from sparseagent.train.agent import check_environment
from sparseagent.train.config import RunConfig
from sparseagent.train.deployed import deploy
from sparseagent.train.folder import RunFolder, open_folder
from sparseagent.train.pipeline import OpenRun, one_thread, prune_agent, train_dense
from sparseagent.train.progress import Display
from sparseagent.train.records import write_rows
from sparseagent.train.search import Choice, SearchResult, SearchSpace, find_sparsest

LATENCY_CALLS = 2_000
#: `sparsity` is the actor's, `latency` the median of one call in ns, `policy` relative to the run.
CANDIDATE_COLUMNS = (
    *("actor_sparsity", "critic_sparsity", "allocation"),
    *("sparsity", "iqm", "latency", "good_enough", "policy"),
)


def search_run(
    config: RunConfig, trials: int, *, share: float = 0.97, display: Display | None = None
) -> SearchResult:
    """Search for the sparsest actor whose IQM is at least `share` of the dense agents'.

    Trains the dense agents of the run, then for each candidate pruned ones, with all seeds of the
    run; the IQM is over the episodes of all seeds. The run folder then holds `search.db`,
    `candidates.csv` and a run folder for each candidate in `candidates/`. The same call goes on
    after an interruption, within a training too.

    Args:
        config: the run; its sparsity is not used, its other settings are those of all candidates.
        trials: candidates to test in all, those already tested included, at least 1.
        share: of the dense return that has to be kept, in (0, 1].
        display: where progress is shown; a console by default.

    Returns:
        All candidates; latency is the median time of one call in ns.

    Raises:
        ValueError: an argument is out of range, the pattern leaves nothing to search, or the folder
            holds another run.
        RuntimeError: a compiled policy does not act like its model.
    """
    if config.allocation == "pattern":
        raise ValueError(
            "allocation: expected one of the allocations that are searched, got 'pattern': "
            f"{config.pattern!r} splits its budget by itself"
        )
    check_environment(config)
    folder, _ = open_folder(config)
    run = OpenRun(config, folder, Display() if display is None else display)

    def evaluate(choice: Choice) -> tuple[float, float]:
        candidate = _candidate(config, choice)
        opened, _ = open_folder(candidate)
        for seed in candidate.seeds:
            prune_agent(OpenRun(candidate, opened, run.display), seed)
        found = _tested(candidate, opened, "pruned")
        run.display.say(
            f"sparsity {choice.actor_sparsity:.3f}, {choice.allocation}: IQM {found[0]:.1f}"
        )
        return found

    with one_thread():
        for seed in config.seeds:
            train_dense(run, seed)
        dense_iqm, _ = _tested(config, folder, "dense")
        run.display.say(f"dense: IQM {dense_iqm:.1f}; at least {share:.0%} of it have to be kept")
        result = find_sparsest(
            evaluate,
            dense_iqm=dense_iqm,
            trials=trials,
            storage=folder.root / "search.db",
            space=_space(config),
            share=share,
        )
    write_rows(folder.root / "candidates.csv", CANDIDATE_COLUMNS, _rows(config, folder, result))
    return result


def policy_of(config: RunConfig, choice: Choice) -> Path:
    """The policy file of a candidate's first seed."""
    return RunFolder.of(_candidate(config, choice)).policy("pruned", config.seeds[0])


def _space(config: RunConfig) -> SearchSpace:
    """The actor, and the critic where it is pruned by default."""
    has_critic = config.algo in ("sac", "td3", "ddpg")
    return SearchSpace(critic_density=(0.05, 1.0) if has_critic else None)


def _candidate(config: RunConfig, choice: Choice) -> RunConfig:
    critic: float | Literal["auto"]
    critic = "auto" if choice.critic_sparsity is None else choice.critic_sparsity
    name = f"{choice.allocation}_{choice.actor_sparsity:.6f}"
    if choice.critic_sparsity is not None:
        name += f"_{choice.critic_sparsity:.6f}"
    return replace(
        config,
        sparsity=choice.actor_sparsity,
        critic_sparsity=critic,
        allocation=choice.allocation,
        out=str(Path(config.out) / "candidates" / name),
    )


def _tested(config: RunConfig, folder: RunFolder, agent: str) -> tuple[float, float]:
    """IQM over all seeds' test episodes, and the first policy's latency; writes the policies."""
    returns = []
    times = []
    for seed in config.seeds:
        deployed = deploy(config, folder, agent, seed)
        deployed.require_parity()
        result = deployed.test()
        returns.append(result.returns)
        times.append(deployed.one_call_ns(LATENCY_CALLS))
        deployed.save(folder.policy(agent, seed), result)
    return float(iqm(np.concatenate(returns))), times[0]


def _rows(config: RunConfig, folder: RunFolder, result: SearchResult) -> list[dict[str, Any]]:
    return [
        {
            **asdict(candidate.choice),
            "sparsity": candidate.sparsity,
            "iqm": candidate.iqm,
            "latency": candidate.latency,
            "good_enough": candidate.good_enough,
            "policy": policy_of(config, candidate.choice).relative_to(folder.root).as_posix(),
        }
        for candidate in result.candidates
    ]
