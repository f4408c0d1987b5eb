"""The run folder: where everything lies, and what is finished."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseagent.train.config import RunConfig
from sparseagent.train.records import hashes, read_json, unlike, write_json, write_text

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


class FolderError(ValueError):
    """A run folder is damaged, or was changed by somebody else."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run. The first seed's files lie in the root, the others' in `seed_<n>/`.

    Attributes:
        root: the run folder.
        first_seed: the seed whose files lie in the root.
        trust: whether files are used that do not match the hashes written down for them.
    """

    root: Path
    first_seed: int = 0
    trust: bool = False

    @classmethod
    def of(cls, config: RunConfig, *, trust: bool = False) -> RunFolder:
        """The folder of a configuration."""
        return cls(Path(config.out), config.seeds[0], trust)

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

    def mark_done(
        self, stage: str, seed: int, facts: Mapping[str, Any], files: Sequence[Path] = ()
    ) -> None:
        """Write the completion marker, with a hash of each of the `files` that the stage made."""
        content = {**facts, "files": hashes(self.seed(seed), files)}
        write_json(self._marker(stage, seed), content)

    def forget(self, stage: str, seed: int) -> None:
        """Delete a completion marker: what the stage rests on is made anew."""
        self._marker(stage, seed).unlink(missing_ok=True)

    def facts(self, stage: str, seed: int) -> dict[str, Any]:
        """What `mark_done` wrote down about a finished training, without the hashes.

        Raises:
            FolderError: the marker is damaged.
        """
        content = self._content(stage, seed)
        if not all(isinstance(content.get(name), int | float) for name in ("timesteps", "seconds")):
            raise self._damaged(stage, seed)
        return {name: fact for name, fact in content.items() if name != "files"}

    def check(self, stage: str, seed: int) -> None:
        """Compare the files of a finished stage with the hashes in its marker.

        That finds damage and edits. It says nothing of who made the folder: whoever can write a
        model can write its hash.

        Raises:
            FolderError: a file is missing or differs, or the marker is damaged or has no hashes.
        """
        recorded = self._content(stage, seed).get("files")
        if self.trust:
            return
        marker = self._marker(stage, seed)
        again = f"delete {marker} to do this stage again, or start anew with --overwrite"
        if not isinstance(recorded, dict):
            raise FolderError(
                f"out: expected hashes of its files in {marker}, got none: an older version wrote "
                f"it. Use the files as they are with --trust-folder, {again}"
            )
        if wrong := unlike(self.seed(seed), recorded):
            raise FolderError(
                f"out: expected the files that were written in {self.seed(seed)}, got "
                f"{', '.join(wrong)} missing, damaged or changed. Put back what was there, {again};"
                " --trust-folder uses changed files as they are, and runs the code in them"
            )

    def _content(self, stage: str, seed: int) -> dict[str, Any]:
        marker = self._marker(stage, seed)
        try:
            content = read_json(marker)
        except (ValueError, OSError):
            content = None
        if not isinstance(content, dict):
            raise self._damaged(stage, seed)
        return content

    def _damaged(self, stage: str, seed: int) -> FolderError:
        return FolderError(
            f"out: expected the marker of a finished stage, got {self._marker(stage, seed)}, which "
            "is damaged: delete it to do this stage again, or start anew with --overwrite"
            + ("; --trust-folder does not help, for nothing else says what was done" * self.trust)
        )

    def _marker(self, stage: str, seed: int) -> Path:
        return self.seed(seed) / "state" / f"{stage}.done"


def open_folder(
    config: RunConfig, *, overwrite: bool = False, trust: bool = False
) -> tuple[RunFolder, bool]:
    """Make the run folder, or go on in it.

    Args:
        config: the run; written to `config.json`.
        overwrite: throw away the run that the folder holds, and start anew.
        trust: use files that do not match the hashes written down for them.

    Returns:
        The folder, and whether it holds an earlier part of the same run.

    Raises:
        ValueError: the folder holds a run with another configuration, or something that is no run;
            with `overwrite`, it holds other files beside a run. Nothing was deleted then.
    """
    folder = RunFolder.of(config, trust=trust)
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
