"""Policy files on the command line: found, and put to the agents whose training seeds they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sparseagent as sa
from sparseagent.environments import noted_environment


@dataclass(frozen=True)
class PolicyName:
    """What a table calls a policy file.

    Attributes:
        file: its path, relative to what all files have in common.
        agent: the agent that it is a training of.
        training_seed: the seed; `""` where the file does not tell.
    """

    file: str
    agent: str
    training_seed: Any


def policy_files(paths: Sequence[Path]) -> list[Path]:
    """The policy files named, and those in the folders named, at any depth; in order.

    Raises:
        ValueError: there is none, one is named twice, or a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"policy: expected a policy file or a folder of them, got {path}")
        found = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"policy: expected policy files (.safetensors) in {path}, got none")
        files += found
    if len({file.resolve() for file in files}) < len(files):
        raise ValueError("policy: expected each policy file once, got one of them again")
    return files


def policy_names(files: Sequence[Path], policies: Sequence[sa.SparsePolicy]) -> list[PolicyName]:
    """Names of the files; seeds of one agent belong together where the files tell them apart."""
    told = [(p.metadata.get("agent"), p.metadata.get("training_seed")) for p in policies]
    grouped = all(agent for agent, _ in told) and len(set(told)) == len(told)
    # Relative to what all have in common: the table must not depend on where the folder lies.
    root = os.path.commonpath([file.resolve().parent for file in files])
    names = []
    for file, (agent, training_seed) in zip(files, told, strict=True):
        name = file.resolve().relative_to(root).as_posix()
        label = str(agent) if grouped else name.removesuffix(".safetensors")
        names.append(PolicyName(name, label, "" if training_seed is None else training_seed))
    return names


def environment_of(files: Sequence[Path], policies: Sequence[sa.SparsePolicy]) -> str:
    """The one environment that all files note.

    Raises:
        ValueError: they note none, or several.
    """
    pairs = zip(files, policies, strict=True)
    names = {noted_environment(policy.metadata, str(file)) or "" for file, policy in pairs}
    if len(names) != 1 or names == {""}:
        raise ValueError(
            "env: expected an environment id, for the files do not name one environment, "
            f"got {sorted(names)}"
        )
    return names.pop()
