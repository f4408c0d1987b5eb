"""Robustness of policy files: one table of all of them, and a plot of agents over levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

import sparseagent as sa
from sparseagent.environments import register_environment
from sparseagent.report import IntervalCurve, disturbance_curves, estimate
from sparseagent.robustness import (
    NOISE_LEVELS,
    Disturbance,
    RobustnessRow,
    observation_std,
    parameters_of,
    robustness,
)
from sparseagent.train.policy_files import environment_of, policy_names
from sparseagent.train.records import bad_table, read_number, read_table, write_rows

#: `training_seed` is empty where a policy file does not tell.
ROBUSTNESS_COLUMNS = (
    *("policy", "agent", "training_seed"),
    *(field.name for field in fields(RobustnessRow)),
)
_REMEDY = "measure again with `sparseagent robustness`"
Row = dict[str, Any]


def measure_files(
    files: Sequence[Path],
    out: Path,
    *,
    env: str | None = None,
    noise_levels: Sequence[float] = NOISE_LEVELS,
    parameters: Sequence[str] | None = None,
    episodes: int = 100,
    num_envs: int = 8,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Measure `robustness` of policy files under the same noise, and write the table as CSV.

    A noise level of 1 is the standard deviation of the observations of all policies together. The
    table is written again after each policy: what is measured is not lost.

    Args:
        files: policy files of one environment, at least one.
        out: the CSV to write, with `ROBUSTNESS_COLUMNS`.
        env: environment id; None takes the one that the files name.
        noise_levels: see `robustness`.
        parameters: names of parameters to change; None takes all that are known.
        episodes: episodes for each level.
        num_envs: environments stepped together.
        seed: seed of the episodes and of the noise.
        say: is told of each policy that is done.

    Returns:
        The rows that were written.

    Raises:
        ValueError: there is no file, the files name no environment or several, or an argument is
            out of range.
    """
    if not files:
        raise ValueError("files: expected at least one policy file, got none")
    policies = [sa.load(file) for file in files]
    env = env or environment_of(files, policies)
    chosen = _parameters(env, parameters)
    acts = [sa.compile(policy) for policy in policies]
    std = None
    if noise_levels:
        std = observation_std(acts, env, num_envs=num_envs, seed=seed)
    rows: list[Row] = []
    for number, (name, act) in enumerate(zip(policy_names(files, policies), acts, strict=True), 1):
        table = robustness(
            act,
            env,
            noise_levels=noise_levels,
            noise_std=std,
            parameters=chosen,
            episodes=episodes,
            num_envs=num_envs,
            seed=seed,
        )
        key = {"policy": name.file, "agent": name.agent, "training_seed": name.training_seed}
        rows += [{**key, **asdict(row)} for row in table.rows]
        write_rows(out, ROBUSTNESS_COLUMNS, rows)
        say(f"{number}/{len(acts)} {name.file}")
    return rows


def read_robustness(table: Path) -> list[dict[str, str]]:
    """The rows of a table of `measure_files`.

    Raises:
        ValueError: the table is empty or cut off, has a row twice, a policy without a level that
            another one has, several environments or numbers of episodes, or a value that is no
            number; the message names the file.
    """
    key = ("policy", "disturbance", "level")
    rows = read_table(table, ROBUSTNESS_COLUMNS, key=key, remedy=_REMEDY)
    for column in ("environment", "episodes", "seed"):
        if len(names := {row[column] for row in rows}) > 1:
            raise bad_table(table, f"one {column}", ", ".join(sorted(names)), _REMEDY)
    levels = {(row["disturbance"], row["level"], row["disturbed"]) for row in rows}
    for policy, found in _by(rows, "policy").items():
        if len({(row["agent"], row["training_seed"]) for row in found}) > 1:
            raise bad_table(table, f"one agent and seed of {policy}", "several", _REMEDY)
        if missing := levels - {(r["disturbance"], r["level"], r["disturbed"]) for r in found}:
            name, level, _ = min(missing)
            raise bad_table(table, f"each level of {policy}", f"no {name} {level}", _REMEDY)
    for row in rows:
        if row["disturbed"] not in ("True", "False"):
            raise bad_table(table, "True or False as disturbed", row["disturbed"], _REMEDY)
        for column in ("level", "mean", "mean_low", "mean_high"):
            read_number(table, row, column, _REMEDY)
        read_number(table, row, "episodes", _REMEDY, least=1)
    return rows


def draw_robustness(table: Path, path: Path) -> Path:
    """Plot a table of `measure_files`: a panel for each disturbance, a curve for each agent.

    An agent with one policy is drawn with the mean of its episodes; one with several, of different
    training seeds, with the IQM of their means. The IQM of episodes would not do here: it cuts off
    the episodes that fail.

    Raises:
        ValueError: as `read_robustness`, or `path` does not end in .png.
    """
    rows = read_robustness(table)
    panels = {
        name: [_curve(agent, of_agent) for agent, of_agent in _by(of_panel, "agent").items()]
        for name, of_panel in _by(rows, "disturbance").items()
    }
    unchanged = {
        row["disturbance"]: float(row["level"]) for row in rows if row["disturbed"] == "False"
    }
    title = f"{rows[0]['environment']}: return under disturbances"
    return disturbance_curves(
        panels, path, unchanged=unchanged, title=title, ylabel="mean return (95 % interval)"
    )


def _curve(agent: str, rows: Sequence[Mapping[str, str]]) -> IntervalCurve:
    points = []
    for level, found in _by(rows, "level").items():
        if len(found) == 1:
            value, low, high = (float(found[0][name]) for name in ("mean", "mean_low", "mean_high"))
        else:
            over_seeds = estimate([float(row["mean"]) for row in found])
            value, low, high = over_seeds.value, over_seeds.low, over_seeds.high
        points.append((float(level), value, low, high))
    return IntervalCurve(agent, *np.array(points).T)


def _by(rows: Sequence[Mapping[str, str]], column: str) -> dict[str, list[Mapping[str, str]]]:
    groups: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def _parameters(env: str, names: Sequence[str] | None) -> tuple[Disturbance, ...]:
    register_environment(env)
    known = parameters_of(env)
    if names is None:
        return known
    by_name = {parameter.name: parameter for parameter in known}
    for name in names:
        if name not in by_name:
            raise ValueError(f"parameter: expected one of {list(by_name)} of {env}, got {name!r}")
    return tuple(by_name[name] for name in names)
