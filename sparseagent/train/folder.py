"""The run folder: where everything lies, and what is finished."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseagent.train.config import RunConfig
from sparseagent.train.records import read_json, write_json, write_text

AGENTS = ("dense", "pruned", "tiny")

#: Every file that a run or a search writes into its folder, and in those of its candidates.
_OWN_FILE = re.compile(
    r"""
    (candidates/[^/]+/)?
    (
      (config|strategy|machine)\.json | report\.md | search\.db(-journal)?
    | (learning_curve|episodes|latency|layers|agents|parity|candidates)\.csv
    | plots/(learning_curve|returns|latency|layers)\.png
    | (seed_\d+/)?
      (
        (dense|pruned|tiny)(\.zip|_vecnormalize\.pkl) | draft\.zip | sparsifier\.pt
      | (policy|dense|pruned|tiny)\.safetensors
      | state/((dense|pruned|tiny|test)\.done | curve_(dense|pruned|tiny)\.csv)
      | state/checkpoints_(dense|pruned|tiny)/(newest | step_\d+/[^/]+)
      )
    )
    (\.\d+\.part)?  # a draft
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run. The first seed's files lie in the root, the others' in `seed_<n>/`.

    Attributes:
        root: the run folder.
        first_seed: the seed whose files lie in the root.
    """

    root: Path
    first_seed: int = 0

    @classmethod
    def of(cls, config: RunConfig) -> RunFolder:
        """The folder of a configuration."""
        return cls(Path(config.out), config.seeds[0])

    @property
    def config(self) -> Path:
        """The configuration that made this folder."""
        return self.root / "config.json"

    def seed(self, seed: int) -> Path:
        """Where the models and policies of one training seed lie."""
        return self.root if seed == self.first_seed else self.root / f"seed_{seed}"

    def model(self, agent: str, seed: int) -> Path:
        """The trained Stable-Baselines3 model."""
        return self.seed(seed) / f"{agent}.zip"

    def statistics(self, agent: str, seed: int) -> Path:
        """The model's `VecNormalize` statistics, where the run normalises."""
        return self.seed(seed) / f"{agent}_vecnormalize.pkl"

    def policy(self, agent: str, seed: int) -> Path:
        """The deployable policy; the pruned agent's is the product and has the plain name."""
        name = "policy" if agent == "pruned" else agent
        return self.seed(seed) / f"{name}.safetensors"

    def sparsifier(self, seed: int) -> Path:
        """Masks and schedule of the pruned agent, to go on with."""
        return self.seed(seed) / "sparsifier.pt"

    def curve(self, agent: str, seed: int) -> Path:
        """Training episodes of one agent."""
        return self.seed(seed) / "state" / f"curve_{agent}.csv"

    def checkpoints(self, agent: str, seed: int) -> Path:
        """Where an unfinished training keeps its checkpoints."""
        return self.seed(seed) / "state" / f"checkpoints_{agent}"

    def is_done(self, stage: str, seed: int) -> bool:
        """Whether a stage of a seed is finished."""
        return self._marker(stage, seed).exists()

    def mark_done(self, stage: str, seed: int, facts: Mapping[str, Any]) -> None:
        """Write the completion marker; everything the stage made must be on disk before."""
        write_json(self._marker(stage, seed), dict(facts))

    def facts(self, stage: str, seed: int) -> dict[str, Any]:
        """What `mark_done` wrote down about a finished stage."""
        facts: dict[str, Any] = read_json(self._marker(stage, seed))
        return facts

    def _marker(self, stage: str, seed: int) -> Path:
        return self.seed(seed) / "state" / f"{stage}.done"


def open_folder(config: RunConfig, *, overwrite: bool = False) -> tuple[RunFolder, bool]:
    """Make the run folder, or go on in it.

    Args:
        config: the run; written to `config.json`.
        overwrite: throw away the run that the folder holds, and start anew.

    Returns:
        The folder, and whether it holds an earlier part of the same run.

    Raises:
        ValueError: the folder holds a run with another configuration, or something that is no run;
            with `overwrite`, it holds other files beside a run. Nothing was deleted then.
    """
    folder = RunFolder.of(config)
    if overwrite and folder.config.exists():
        _throw_away(folder)
    if folder.config.exists():
        differences = config.differences(_stored(folder))
        if differences:
            raise ValueError(
                f"out: {folder.root} holds another run; this one has {'; '.join(differences)}. "
                "Choose another folder, or start anew with --overwrite (overwrite=True)."
            )
        return folder, True
    if folder.root.exists() and any(folder.root.iterdir()):
        raise ValueError(f"out: expected a new, empty or run folder, got {folder.root} with files")
    folder.root.mkdir(parents=True, exist_ok=True)
    write_text(folder.config, config.to_json())
    return folder, False


def _stored(folder: RunFolder) -> RunConfig:
    try:
        return RunConfig.load(folder.config)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"out: expected a run folder, got {folder.root}, whose config.json is not that of a "
            f"run: {error}"
        ) from error


def _throw_away(folder: RunFolder) -> None:
    """Delete the files of a run, if its folder holds nothing else."""
    _stored(folder)
    paths = sorted(folder.root.rglob("*"), reverse=True)  # what a folder holds comes before it
    folders = {path for path in paths if path.is_dir() and not path.is_symlink()}
    names = [path.relative_to(folder.root).as_posix() for path in paths if path not in folders]
    if foreign := sorted(name for name in names if not _OWN_FILE.fullmatch(name)):
        raise ValueError(
            f"overwrite: expected nothing but a run in {folder.root}, got {', '.join(foreign[:3])}"
            f"{' and others' if len(foreign) > 3 else ''}; move them elsewhere, or choose another "
            "folder"
        )
    for path in paths:
        if path in folders:
            path.rmdir()
        elif path != folder.config:
            path.unlink()
    # Last, so that what an interrupted deletion leaves is still known as a run.
    folder.config.unlink()
