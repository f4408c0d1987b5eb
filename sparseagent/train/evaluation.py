"""Step 5: test all agents through the compiled policy, and time it beside the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

import sparseagent as sa
from sparseagent.policy import SparsePolicy
from sparseagent.prune import effective_weights
from sparseagent.report import measure_latency, pin_core
from sparseagent.train import contenders
from sparseagent.train.agent import actor_weights, network_name
from sparseagent.train.config import RunConfig
from sparseagent.train.folder import AGENTS, RunFolder
from sparseagent.train.parity import check_parity, sample_observations
from sparseagent.train.progress import Display
from sparseagent.train.records import write_rows
from sparseagent.train.stage import load_model, load_statistics
from sparseagent.train.strategy import make_sparsifier

#: Seed of the test episodes, the same for all agents: they meet the same starts.
TEST_SEED = 1_000_003
TEST_ENVS = 8
LATENCY_CALLS = 5_000

AGENT_COLUMNS = (
    *("agent", "seed", "network", "weights", "kept", "effective", "sparsity"),
    *("reached", "timesteps", "seconds", "file_bytes"),
)
EPISODE_COLUMNS = ("agent", "seed", "episode", "return", "length")
PARITY_COLUMNS = ("agent", "seed", "observations", "different", "largest")
LAYER_COLUMNS = ("seed", "part", "layer", "inputs", "outputs", "weights", "kept", "sparsity")
LATENCY_COLUMNS = ("contender", "p50_ns", "p99_ns", "mean_ns", "calls")

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Agent:
    """One trained agent, converted and compiled."""

    name: str
    seed: int
    model: BaseAlgorithm
    statistics: VecNormalize | None
    policy: SparsePolicy
    act: Any


def evaluate_agents(config: RunConfig, folder: RunFolder, display: Display) -> None:
    """Write the policies and the raw tables.

    The tables are `agents.csv`, `episodes.csv`, `parity.csv`, `layers.csv` and `latency.csv`.
    """
    agents = [_load(config, folder, name, seed) for seed in config.seeds for name in AGENTS]
    episodes: list[Row] = []
    parities: list[Row] = []
    weights: list[Row] = []
    total = len(agents) * config.eval_episodes
    with display.bar("5/5 test", total) as bar:
        for agent in agents:
            played, parity, row = _test(config, folder, agent)
            episodes += played
            parities.append(parity)
            weights.append(row)
            bar.update(len(episodes), agent.name)
    root = folder.root
    write_rows(root / "episodes.csv", EPISODE_COLUMNS, episodes)
    write_rows(root / "parity.csv", PARITY_COLUMNS, parities)
    write_rows(root / "agents.csv", AGENT_COLUMNS, weights)
    layers = [row for agent in agents if agent.name == "pruned" for row in _layers(config, agent)]
    write_rows(root / "layers.csv", LAYER_COLUMNS, layers)
    display.say("5/5 latency of one call, the contenders in turns")
    first = {agent.name: agent for agent in agents if agent.seed == config.seeds[0]}
    write_rows(root / "latency.csv", LATENCY_COLUMNS, _latencies(config, first))


def _load(config: RunConfig, folder: RunFolder, name: str, seed: int) -> _Agent:
    model = load_model(config, folder, name, seed)
    statistics = load_statistics(config, folder, name, seed)
    policy = sa.from_sb3(model, vecnormalize=statistics)
    return _Agent(name, seed, model, statistics, policy, sa.compile(policy))


def _test(config: RunConfig, folder: RunFolder, agent: _Agent) -> tuple[list[Row], Row, Row]:
    key = {"agent": agent.name, "seed": agent.seed}
    observations = sample_observations(config.env, agent.act, seed=agent.seed)
    parity = check_parity(agent.policy, agent.act, agent.model, agent.statistics, observations)
    result = sa.rollout(
        agent.act, config.env, episodes=config.eval_episodes, num_envs=TEST_ENVS, seed=TEST_SEED
    )
    played = [
        {**key, "episode": number, "return": float(returned), "length": int(length)}
        for number, (returned, length) in enumerate(
            zip(result.returns, result.lengths, strict=True)
        )
    ]
    path = folder.policy(agent.name, agent.seed)
    agent.policy.with_metadata(
        environment=config.env,
        agent=agent.name,
        training_seed=agent.seed,
        evaluated_return={
            "iqm": result.iqm,
            "ci95": list(result.ci95),
            "mean": result.mean,
            "std": result.std,
            "episodes": len(result.returns),
            "seed": TEST_SEED,
        },
    ).save(path)
    row = {**key, **_weights(config, agent), **folder.facts(agent.name, agent.seed)}
    row["file_bytes"] = path.stat().st_size
    return played, {**key, **asdict(parity)}, row


def _weights(config: RunConfig, agent: _Agent) -> Row:
    actor = actor_weights(agent.model.policy)
    masks = [weight != 0 for weight in actor]
    weights = sum(mask.numel() for mask in masks)
    kept = sum(int(mask.sum()) for mask in masks)
    # An automatic schedule has a limit, no target.
    has_target = agent.name == "pruned" and config.schedule != "automatic"
    wanted = 1.0 - config.sparsity if has_target else 1.0
    return {
        "network": network_name(actor),
        "weights": weights,
        "kept": kept,
        "effective": effective_weights(masks),
        "sparsity": round(1.0 - kept / weights, 6),
        "reached": kept <= round(wanted * weights),
    }


def _layers(config: RunConfig, agent: _Agent) -> list[Row]:
    """Every pruned weight matrix of the pruned agent, critics included."""
    parts = make_sparsifier(config, agent.model.policy, agent.seed).parts
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


def _latencies(config: RunConfig, agents: dict[str, _Agent]) -> list[Row]:
    pruned, dense, tiny = (agents[name] for name in ("pruned", "dense", "tiny"))
    observation = sample_observations(config.env, pruned.act, count=64)[-1]
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
