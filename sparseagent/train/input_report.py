"""Which inputs agents use, how much, over training seeds: tables of policy files, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import sparseagent as sa
from sparseagent.environments import noted_environment, observation_names, register_environment
from sparseagent.input_use import input_use
from sparseagent.report import input_bars, percent
from sparseagent.train.policy_files import policy_names
from sparseagent.train.records import write_rows

COLUMNS = ("policy", "agent", "training_seed", "input", "place", "weights", "share")


@dataclass(frozen=True, eq=False)
class AgentInputs:
    """The inputs of one agent over its training seeds.

    Attributes:
        agent: what a table calls it.
        files: names of the policy files.
        seeds: their training seeds; `""` where a file does not tell.
        names: names of the inputs, `[inputs]`, as the network sees them.
        weights: weights that read each of them, `[seeds, inputs]`.
        share: what each has of all squared weights that read the observation, `[seeds, inputs]`;
            NaN where there are no weights to go by.
    """

    agent: str
    files: tuple[str, ...]
    seeds: tuple[Any, ...]
    names: tuple[str, ...]
    weights: npt.NDArray[np.int64]
    share: npt.NDArray[np.float64]

    @property
    def used_by(self) -> npt.NDArray[np.int64]:
        """How many seeds use each input, `[inputs]`."""
        counts: npt.NDArray[np.int64] = (self.weights > 0).sum(axis=0)
        return counts

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Inputs by their mean share, the largest first; those of no weight last."""
        mean: npt.NDArray[np.float64] = np.nan_to_num(self.share).mean(axis=0)
        return np.argsort(-mean, kind="stable")

    @property
    def headline(self) -> str:
        """How many inputs it uses, in one line."""
        counts = np.count_nonzero(self.weights, axis=1)
        seeds, size = len(self.files), len(self.names)
        if seeds == 1:
            return f"{self.agent}: uses {counts[0]} of {size} inputs"
        least, most = counts.min(), counts.max()
        span = f"{least}" if least == most else f"{least} to {most}"
        return (
            f"{self.agent}: uses {span} of {size} inputs over {seeds} seeds; "
            f"{(self.used_by == seeds).sum()} in all seeds, {(self.used_by == 0).sum()} in none"
        )

    def table(self, most: int) -> tuple[list[str], list[list[str]]]:
        """Header and rows of the inputs that are used, at most `most` of them."""
        mean = self.share.mean(axis=0)
        shown = [place for place in self.order if self.used_by[place]][:most]
        rows = [
            [
                self.names[place],
                "-" if np.isnan(mean[place]) else percent(mean[place]),
                f"{self.weights[:, place].mean():.1f}",
                f"{self.used_by[place]} of {len(self.files)}",
            ]
            for place in shown
        ]
        return ["input", "share", "weights", "seeds that use it"], rows


def agent_inputs(files: Sequence[Path], env: str | None = None) -> list[AgentInputs]:
    """The inputs of the agents that policy files hold, agent by agent.

    Args:
        files: policy files, at least one.
        env: id of the environment to take names from; None takes that of each file, and numbers
            where it notes none, or one that cannot be made here.

    Raises:
        ValueError: seeds of one agent read observations of different sizes, or a file is damaged.
    """
    policies = [sa.load(file) for file in files]
    groups: dict[str, list[int]] = {}
    names = policy_names(files, policies)
    for number, name in enumerate(names):
        groups.setdefault(name.agent, []).append(number)
    return [
        _agent(agent, [(files[n], names[n], policies[n]) for n in numbers], env)
        for agent, numbers in groups.items()
    ]


def write_inputs(agents: Sequence[AgentInputs], path: Path) -> None:
    """Write one row for each policy and input, unused ones included."""
    rows = [
        dict(zip(COLUMNS, (file, of.agent, seed, name, place, int(weights), share), strict=True))
        for of in agents
        for file, seed, found, shares in zip(
            of.files, of.seeds, of.weights, of.share.tolist(), strict=True
        )
        for place, (name, weights, share) in enumerate(zip(of.names, found, shares, strict=True))
    ]
    write_rows(path, COLUMNS, rows)


def draw_inputs(agent: AgentInputs, path: Path, most: int) -> Path:
    """Plot the inputs that an agent uses, at most `most` of them, those of the largest share.

    Raises:
        ValueError: no share is known, or `path` does not end in .png.
    """
    shown = [place for place in agent.order if agent.used_by[place]][:most]
    if not shown or np.isnan(agent.share[:, shown]).any():
        raise ValueError(
            f"plot: expected inputs that a layer reads first, got none for {agent.agent}"
        )
    return input_bars(
        [agent.names[place] for place in shown],
        agent.share[:, shown],
        path,
        title=f"{agent.agent}: inputs by their share of the weights",
    )


def _agent(
    agent: str, entries: Sequence[tuple[Path, Any, sa.SparsePolicy]], env: str | None
) -> AgentInputs:
    found = [input_use(policy.program) for _, _, policy in entries]
    sizes = {tuple((name, len(use.weights)) for name, use in uses.items()) for uses in found}
    if len(sizes) > 1:
        raise ValueError(f"policy: expected the seeds of {agent} to read the same inputs")
    energy = [np.concatenate([use.norm for use in uses.values()]) ** 2 for uses in found]
    file, _, policy = entries[0]
    return AgentInputs(
        agent,
        tuple(name.file for _, name, _ in entries),
        tuple(name.training_seed for _, name, _ in entries),
        _names(policy, env, str(file)),
        np.array([np.concatenate([use.weights for use in uses.values()]) for uses in found]),
        np.array([values / max(np.nansum(values), np.finfo(float).tiny) for values in energy]),
    )


def _names(policy: sa.SparsePolicy, env: str | None, source: str) -> tuple[str, ...]:
    """Names of the features as the network sees them."""
    steps = policy.inputs
    plain = tuple(
        f"{name} {place}" if len(steps) > 1 else f"{place}"
        for name, step in steps.items()
        for place in range(step.width)
    )
    given = _environment_names(env, policy, source)
    if given is None:
        return plain
    if len(given) != len(plain):
        raise ValueError(
            f"env: expected an environment with the {len(plain)} inputs of {source}, got one with "
            f"{len(given)}"
        )
    return given


def _environment_names(
    env: str | None, policy: sa.SparsePolicy, source: str
) -> tuple[str, ...] | None:
    chosen = env
    if chosen is None:
        try:
            chosen = noted_environment(policy.metadata, source)
        except ValueError:  # wrappers around it; what they do to the names is unknown
            return None
    if chosen is None or any(step.categories for step in policy.inputs.values()):
        return None
    try:
        import gymnasium

        register_environment(chosen)
        made = gymnasium.make(chosen)
    except (ImportError, gymnasium.error.Error):
        if env is not None:
            raise
        return None
    try:
        return observation_names(made)
    finally:
        made.close()
