"""The run folder: where everything lies, and what is finished."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseagent.train.config import RunConfig
from sparseagent.train.records import read_json, write_json, write_text

AGENTS = ("dense", "pruned", "tiny")


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
        overwrite: throw a folder with another configuration away and start anew.

    Returns:
        The folder, and whether it holds an earlier part of the same run.

    Raises:
        ValueError: the folder holds a run with another configuration, or something that is no run.
    """
    folder = RunFolder.of(config)
    if overwrite and folder.config.exists():
        shutil.rmtree(folder.root)
    if folder.config.exists():
        differences = config.differences(RunConfig.load(folder.config))
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
