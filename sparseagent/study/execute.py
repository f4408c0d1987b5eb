"""One cell: train, convert, compile, check, test; the outcome is one row of the table."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from typing import Any

import sparseagent as sa
from sparseagent.environments import register_environment
from sparseagent.prune import Magnitude, OneShot, Sparsifier, effective_weights
from sparseagent.random_policy import random_policy
from sparseagent.report import worst_decile
from sparseagent.study.cells import Cell
from sparseagent.study.logs import open_logger
from sparseagent.study.method import Job, Trained
from sparseagent.study.training import full_widths
from sparseagent.train.agent import actor_weights, network_name
from sparseagent.train.architecture import weight_count
from sparseagent.train.deployed import TEST_SEED, deploy
from sparseagent.train.folder import RunFolder, open_folder
from sparseagent.train.machine import describe_machine, package_commit
from sparseagent.train.progress import Display

LATENCY_CALLS = 2_000
_VERSIONS = ("python", "numpy", "torch", "stable-baselines3", "gymnasium")


def execute(cell: Cell, display: Display, wandb: str = "off") -> dict[str, Any]:
    """Do what is left of a cell.

    Returns:
        Its row of the table.

    Raises:
        RuntimeError: the sparsity was not reached, or the compiled policy does not act like the
            model.
    """
    register_environment(cell.config.env)
    folder, _ = open_folder(cell.config)
    with ExitStack() as stack:
        logger = open_logger(cell, stack, wandb)
        job = Job(cell.config, cell.seed, folder, display, logger)
        trained = cell.method.train(job)
        row = evaluate(cell, folder, trained)
        for name in ("mean", "iqm", "worst_decile", "kept", "effective", "latency_p50_ns"):
            logger.record(f"test/{name}", row[name])
        logger.dump(trained.timesteps)
    return row


def evaluate(cell: Cell, folder: RunFolder, trained: Trained) -> dict[str, Any]:
    """Test a trained agent through its compiled policy; writes `policy.safetensors` beside it."""
    config = replace(cell.config, env=trained.env or cell.config.env)
    agent = deploy(config, folder, trained.agent, cell.seed)
    agent.require_parity()
    size = _size(cell, agent.model)
    # As many environments as episodes: each episode is played in a fresh one.
    result = agent.test(num_envs=config.eval_episodes)
    agent.save(folder.root / "policy.safetensors", result, name=cell.agent)
    return {
        **_identity(cell),
        "steps": trained.timesteps,
        "episodes": config.eval_episodes,
        "mean": round(result.mean, 4),
        "std": round(result.std, 4),
        "worst_decile": round(float(worst_decile(result.returns)), 4),
        "iqm": round(result.iqm, 4),
        "random": round(random_return(config.env, config.eval_episodes), 4),
        **size,
        "latency_p50_ns": round(agent.one_call_ns(LATENCY_CALLS), 1),
        "seconds": round(trained.seconds, 1),
        "different_actions": agent.parity.different,
        "resumed": trained.resumed,
        **_software(),
    }


def _identity(cell: Cell) -> dict[str, Any]:
    return {
        "study": cell.study,
        "env": cell.config.env,
        "algo": cell.config.algo,
        "method": cell.method.name,
        "sparsity": f"{cell.sparsity:g}",
        "seed": cell.seed,
        "settings": cell.fingerprint,
    }


@lru_cache
def random_return(env: str, episodes: int) -> float:
    """Mean return of random actions, from the starts that all agents meet."""
    act = random_policy(env, seed=TEST_SEED)
    found = sa.rollout(act, env, episodes=episodes, num_envs=episodes, seed=TEST_SEED)
    return float(found.mean)


def _size(cell: Cell, model: Any) -> dict[str, Any]:
    """Weights of the acting network: kept, effective, and what the full network has."""
    weights = actor_weights(model.policy)
    masks = [weight != 0 for weight in weights]
    kept = sum(int(mask.sum()) for mask in masks)
    inputs, *hidden, outputs = full_widths(cell.config)
    full = weight_count(inputs, hidden, outputs)
    allowed = round((1.0 - cell.sparsity) * full)
    if cell.method.must_reach and kept > allowed:
        raise RuntimeError(
            f"{cell}: expected {allowed} weights at most, got {kept} of {full}: the final mask "
            "was not reached"
        )
    return {
        "kept": kept,
        "effective": effective_weights(masks),
        "full": full,
        "network": network_name(weights),
        "actor_sparsity": round(1.0 - kept / full, 6),
        "critic_sparsity": _critic_sparsity(model),
    }


def _critic_sparsity(model: Any) -> float | None:
    """Fraction of zeros in the critic's weights; None where there is no critic."""
    critic: Any = "auto" if type(model).__name__ == "DQN" else 0.5
    probe = Sparsifier(
        model.policy, score=Magnitude(), schedule=OneShot(to=0.5), critic_sparsity=critic
    )
    names = probe.parts.get("critic")
    if names is None:
        return None
    weights = [model.policy.get_parameter(name) for name in names]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return round(zeros / sum(int(weight.numel()) for weight in weights), 6)


@lru_cache
def _software() -> dict[str, str]:
    facts = describe_machine()
    return {
        "commit": package_commit(),
        "versions": "; ".join(f"{name} {facts[name]}" for name in _VERSIONS),
    }
