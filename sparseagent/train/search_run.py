"""The search for the sparsest agent on a run: dense agents once, then candidate after candidate."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparseagent.report import iqm
from sparseagent.train.agent import check_environment, fresh_policy
from sparseagent.train.config import RunConfig
from sparseagent.train.deployed import deploy
from sparseagent.train.folder import FolderError, RunFolder, open_folder
from sparseagent.train.lock import hold
from sparseagent.train.pipeline import OpenRun, one_thread, prune_agent, train_dense
from sparseagent.train.progress import Display
from sparseagent.train.records import write_rows
from sparseagent.train.search import (
    Choice,
    SearchResult,
    SearchSpace,
    check_search,
    find_sparsest,
)
from sparseagent.train.strategy import check_pruning

LATENCY_CALLS = 2_000
#: `sparsity` is the actor's, `latency` the median of one call in ns, `policy` relative to the run
#: and empty where no agent could be made.
CANDIDATE_COLUMNS = (
    *("actor_sparsity", "critic_sparsity", "allocation"),
    *("sparsity", "iqm", "latency", "good_enough", "policy"),
)


def search_run(
    config: RunConfig,
    trials: int,
    *,
    share: float = 0.97,
    allocations: tuple[str, ...] | None = None,
    overwrite: bool = False,
    trust: bool = False,
    display: Display | None = None,
) -> SearchResult:
    """Search for the sparsest actor whose IQM is at least `share` of the dense agents'.

    Trains the dense agents of the run, then for each candidate pruned ones, with all seeds of the
    run; the IQM is over the episodes of all seeds. The run folder then holds `search.db`,
    `candidates.csv` and a run folder for each candidate in `candidates/`. The same call goes on
    after an interruption, within a training too. A candidate that the run's pattern cannot make is
    recorded as such, and the search goes on.

    Args:
        config: the run; its sparsity is not used, its other settings are those of all candidates.
            A critic sparsity other than "auto" is one of them.
        trials: candidates to test in all, those already tested included, at least 1.
        share: of the dense return that has to be kept, in (0, 1].
        allocations: those to search among; None for those of `SearchSpace` that suit the score, or
            for the run's own where it is not the default.
        overwrite: throw away the run or search that the folder holds.
        trust: use files that do not match the hashes written down for them; see `run`.
        display: where progress is shown; a console by default.

    Returns:
        All candidates; latency is the median time of one call in ns.

    Raises:
        ImportError: Optuna is not installed.
        ValueError: an argument is out of range, the pattern leaves nothing to search, settings do
            not fit each other, or the folder holds another run.
        RuntimeError: a compiled policy does not act like its model.
    """
    check_search(trials, share)
    if config.schedule == "automatic":
        raise ValueError(
            "schedule: expected one that reaches the sparsity of a candidate, got 'automatic', "
            "which looks for one by itself"
        )
    if config.allocation == "pattern":
        raise ValueError(
            "allocation: expected one of the allocations that are searched, got 'pattern': "
            f"{config.pattern!r} splits its budget by itself"
        )
    check_environment(config)
    space = _space(config, allocations)
    _check_densest(config, space)
    with hold(Path(config.out)):
        folder, _ = open_folder(config, overwrite=overwrite, trust=trust)
        run = OpenRun(config, folder, Display() if display is None else display)
        return _search(run, space, trials, share)


def _search(run: OpenRun, space: SearchSpace, trials: int, share: float) -> SearchResult:
    """Train the dense agents, then candidates; the folder is ours."""
    config, folder = run.config, run.folder

    def evaluate(choice: Choice) -> tuple[float, float] | None:
        candidate = _candidate(config, choice)
        opened, _ = open_folder(candidate, trust=folder.trust)
        name = f"sparsity {choice.actor_sparsity:.3f}, {choice.allocation}"
        try:
            for seed in candidate.seeds:
                prune_agent(OpenRun(candidate, opened, run.display), seed)
        except FolderError:
            raise
        except ValueError as error:
            # Whether a pattern has masks for what an allocation by scores leaves to each layer
            # shows only in training.
            run.display.say(f"{name}: cannot be made: {error}")
            return None
        found = _tested(candidate, opened, "pruned")
        run.display.say(f"{name}: IQM {found[0]:.1f}")
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
            space=space,
            share=share,
        )
    write_rows(folder.root / "candidates.csv", CANDIDATE_COLUMNS, _rows(config, folder, result))
    return result


def policy_of(config: RunConfig, choice: Choice) -> Path:
    """The policy file of a candidate's first seed."""
    return RunFolder.of(_candidate(config, choice)).policy("pruned", config.seeds[0])


def _space(config: RunConfig, allocations: tuple[str, ...] | None) -> SearchSpace:
    """The actor, the critic where it is pruned by default, and what the run leaves open."""
    searches_critic = config.algo in ("sac", "td3", "ddpg") and config.critic_sparsity == "auto"
    if allocations is None and config.allocation != RunConfig.allocation:
        allocations = (config.allocation,)
    if allocations is None:
        lamp = config.score != "movement"  # LAMP takes no scores below 0
        allocations = tuple(n for n in SearchSpace.allocations if lamp or n != "lamp")
    return SearchSpace(
        critic_density=(0.05, 1.0) if searches_critic else None, allocations=allocations
    )


def _check_densest(config: RunConfig, space: SearchSpace) -> None:
    """Refuse settings that no candidate can have, before the dense agents are trained."""
    critic = None if space.critic_density is None else 1.0 - space.critic_density[1]
    policy = fresh_policy(config)
    for name in space.allocations:
        densest = Choice(1.0 - space.actor_density[1], critic, name)
        check_pruning(_candidate(config, densest), policy)


def _candidate(config: RunConfig, choice: Choice) -> RunConfig:
    critic = config.critic_sparsity
    name = f"{choice.allocation}_{choice.actor_sparsity:.6f}"
    if choice.critic_sparsity is not None:
        critic = choice.critic_sparsity
        name += f"_{critic:.6f}"
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
    rows = []
    for candidate in result.candidates:
        policy = policy_of(config, candidate.choice).relative_to(folder.root).as_posix()
        rows.append(
            {
                **asdict(candidate.choice),
                "sparsity": candidate.sparsity,
                "iqm": candidate.iqm,
                "latency": candidate.latency,
                "good_enough": candidate.good_enough,
                "policy": policy if math.isfinite(candidate.iqm) else "",
            }
        )
    return rows
