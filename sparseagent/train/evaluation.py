"""Step 5: test all agents through the compiled policy, and time it beside the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sparseagent.prune import effective_weights
from sparseagent.report import measure_latency, pin_core
from sparseagent.train import contenders
from sparseagent.train.agent import actor_weights, network_name
from sparseagent.train.config import RunConfig
from sparseagent.train.deployed import Deployed, deploy
from sparseagent.train.folder import AGENTS, RunFolder
from sparseagent.train.progress import Display
from sparseagent.train.records import write_rows
from sparseagent.train.run_tables import (
    AGENT_COLUMNS,
    EPISODE_COLUMNS,
    LATENCY_COLUMNS,
    LAYER_COLUMNS,
    PARITY_COLUMNS,
)
from sparseagent.train.strategy import make_sparsifier

LATENCY_CALLS = 5_000

Row = dict[str, Any]


def evaluate_agents(config: RunConfig, folder: RunFolder, display: Display) -> None:
    """Write the policies and the raw tables.

    The tables are `agents.csv`, `episodes.csv`, `parity.csv`, `layers.csv` and `latency.csv`.
    """
    agents = [deploy(config, folder, name, seed) for seed in config.seeds for name in AGENTS]
    episodes: list[Row] = []
    parities: list[Row] = []
    weights: list[Row] = []
    total = len(agents) * config.eval_episodes
    with display.bar("5/5 test", total) as bar:
        for agent in agents:
            played, parity, row = _test(folder, agent)
            episodes += played
            parities.append(parity)
            weights.append(row)
            bar.update(len(episodes), agent.name)
    root = folder.root
    write_rows(root / "episodes.csv", EPISODE_COLUMNS, episodes)
    write_rows(root / "parity.csv", PARITY_COLUMNS, parities)
    write_rows(root / "agents.csv", AGENT_COLUMNS, weights)
    layers = [row for agent in agents if agent.name == "pruned" for row in _layers(agent)]
    write_rows(root / "layers.csv", LAYER_COLUMNS, layers)
    display.say("5/5 latency of one call, the contenders in turns")
    first = {agent.name: agent for agent in agents if agent.seed == config.seeds[0]}
    write_rows(root / "latency.csv", LATENCY_COLUMNS, _latencies(first))


def _test(folder: RunFolder, agent: Deployed) -> tuple[list[Row], Row, Row]:
    key = {"agent": agent.name, "seed": agent.seed}
    parity, result = agent.parity, agent.test()
    played = [
        {**key, "episode": number, "return": float(returned), "length": int(length)}
        for number, (returned, length) in enumerate(
            zip(result.returns, result.lengths, strict=True)
        )
    ]
    path = folder.policy(agent.name, agent.seed)
    agent.save(path, result)
    # A trusted folder of an older version does not say whether it was resumed.
    row = {**key, **_weights(agent), "resumed": "", **folder.facts(agent.name, agent.seed)}
    row["file_bytes"] = path.stat().st_size
    return played, {**key, **asdict(parity)}, row


def _weights(agent: Deployed) -> Row:
    actor = actor_weights(agent.model.policy)
    masks = [weight != 0 for weight in actor]
    weights = sum(mask.numel() for mask in masks)
    kept = sum(int(mask.sum()) for mask in masks)
    # An automatic schedule has a limit, no target.
    has_target = agent.name == "pruned" and agent.config.schedule != "automatic"
    wanted = 1.0 - agent.config.sparsity if has_target else 1.0
    judged = masks[:1] if agent.config.layers == "first" else masks
    allowed = round(wanted * sum(mask.numel() for mask in judged))
    return {
        "network": network_name(actor),
        "weights": weights,
        "kept": kept,
        "effective": effective_weights(masks),
        "sparsity": round(1.0 - kept / weights, 6),
        "reached": sum(int(mask.sum()) for mask in judged) <= allowed,
    }


def _layers(agent: Deployed) -> list[Row]:
    """Every pruned weight matrix of the pruned agent, critics included."""
    parts = make_sparsifier(agent.config, agent.model.policy, agent.seed).parts
    weights = dict(agent.model.policy.named_parameters())
    rows = []
    for part, names in parts.items():
        for name in names:
            weight = weights[name]
            kept = int((weight != 0).sum())
            rows.append(
                {
                    "seed": agent.seed,
                    "part": part,
                    "layer": name.removesuffix(".weight"),
                    "inputs": weight.shape[1],
                    "outputs": weight.shape[0],
                    "weights": weight.numel(),
                    "kept": kept,
                    "sparsity": round(1.0 - kept / weight.numel(), 6),
                }
            )
    return rows


def _latencies(agents: dict[str, Deployed]) -> list[Row]:
    pruned, dense, tiny = (agents[name] for name in ("pruned", "dense", "tiny"))
    observation = pruned.observations[-1]
    rows = contenders.rows_of(observation[None])
    calls: dict[str, Callable[[], object]] = {
        "pruned agent, compiled": contenders.compiled(pruned.policy, rows),
        "pruned agent, our dense kernel": contenders.compiled_dense(pruned.policy, rows),
        "tiny dense agent, compiled": contenders.compiled(tiny.policy, rows),
        "dense agent, compiled": contenders.compiled(dense.policy, rows),
        "dense agent, NumPy": contenders.numpy_dense(dense.policy, rows),
        "dense agent, torch": contenders.torch_dense(dense.policy, rows),
        "dense agent, model.predict": contenders.library_predict(
            dense.model, dense.statistics, observation
        ),
    }
    with pin_core():
        measured = measure_latency(calls, calls=LATENCY_CALLS)
    return [
        {
            "contender": latency.name,
            "p50_ns": round(latency.p50_ns, 1),
            "p99_ns": round(latency.p99_ns, 1),
            "mean_ns": round(latency.mean_ns, 1),
            "calls": latency.calls,
        }
        for latency in measured
    ]
