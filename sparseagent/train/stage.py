"""Train one agent from its first to its last step, across kills and restarts."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from sparseagent.convert.normaliser import Normaliser, read_normaliser
from sparseagent.prune import Sparsifier
from sparseagent.train.agent import algorithm, make_envs, make_model
from sparseagent.train.callbacks import CURVE_COLUMNS, Checkpoints, CurveRecorder, StageProgress
from sparseagent.train.checkpoint import drop_checkpoints, newest_checkpoint, save_checkpoint
from sparseagent.train.config import RunConfig
from sparseagent.train.folder import RunFolder
from sparseagent.train.progress import Display
from sparseagent.train.records import (
    read_json,
    read_rows,
    write_bytes,
    write_rows,
    written_whole,
)
from sparseagent.train.strategy import make_sparsifier
from sparseagent.train.world import load_world, save_world

#: How often a stage with a logger logs: the unit differs, as in Stable-Baselines3.
LOG_ROLLOUTS = 8
LOG_EPISODES = 4


@dataclass(frozen=True)
class Stage:
    """The training of one agent.

    Attributes:
        agent: `"dense"`, `"pruned"` or `"tiny"`.
        seed: training seed.
        timesteps: environment steps.
        actor: widths of the actor's hidden layers.
        sections: titles for the progress bar, with the step at which each one ends.
    """

    agent: str
    seed: int
    timesteps: int
    actor: tuple[int, ...]
    sections: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Extras:
    """What else goes on during a training.

    Attributes:
        callbacks: called before those of the stage.
        logger: where Stable-Baselines3 logs losses and returns; None logs nothing.
    """

    callbacks: tuple[BaseCallback, ...] = ()
    logger: Logger | None = None


@dataclass
class _Training:
    """A training in progress."""

    model: BaseAlgorithm
    sparsifier: Sparsifier | None
    rows: list[dict[str, Any]]
    seconds: float
    #: State to go on in at the first rollout; empty for that in which it is.
    world: bytes = b""
    #: Why it ends with other bits than without a break; empty where it does not.
    inexact: str = ""

    def restore(self) -> None:
        """Go on in the state that was saved, once: all that the start has drawn is forgotten."""
        if self.world:
            load_world(self.model, self.world)
            self.world = b""


def train_stage(
    config: RunConfig,
    stage: Stage,
    folder: RunFolder,
    display: Display,
    extras: Extras | None = None,
) -> bool:
    """Train one agent and write its model, or find that this is done already.

    Writes the model, its `VecNormalize` statistics, the sparsifier's state (pruned agent), and the
    training episodes; then the completion marker.

    Args:
        config: the run.
        stage: which agent.
        folder: the run folder.
        display: where progress is shown.
        extras: what else goes on during the training.

    Returns:
        Whether there was anything left to do.
    """
    if folder.is_done(stage.agent, stage.seed):
        return False
    checkpoints = folder.checkpoints(stage.agent, stage.seed)
    newest = newest_checkpoint(checkpoints, display.say, trust=folder.trust)
    training = _start(config, stage) if newest is None else _resume(config, stage, newest)
    if newest is not None:
        display.say(
            f"resuming {stage.agent} (seed {stage.seed}) at step {training.model.num_timesteps:,}"
        )
    extras = extras or Extras()
    # Whatever else goes on may have a state that no checkpoint holds.
    if newest is not None and extras.callbacks and not training.inexact:
        names = ", ".join(type(callback).__name__ for callback in extras.callbacks)
        training.inexact = f"what its callbacks know is in no checkpoint ({names})"
    if training.inexact:
        display.say(f"  not the bits of a training without a break: {training.inexact}")
    recorder = _learn(config, stage, training, checkpoints, display=display, extras=extras)
    _finish(stage, training, recorder, folder)
    drop_checkpoints(checkpoints)
    return True


def load_model(config: RunConfig, folder: RunFolder, agent: str, seed: int) -> BaseAlgorithm:
    """A finished model, without environments; its file is checked before it is unpickled.

    Raises:
        FolderError: the file is not the one that the training wrote.
    """
    folder.check(agent, seed)
    return algorithm(config.algo).load(folder.model(agent, seed), device="cpu")


def load_statistics(
    config: RunConfig, folder: RunFolder, agent: str, seed: int
) -> VecNormalize | None:
    """What normalises the observations of a finished model; None where the run does not normalise.

    A `VecNormalize` of the library with the statistics of the file, which is read as data and not
    unpickled: the observations' alone.

    Raises:
        FolderError: the file is not the one that the training wrote.
        ValueError: the file, which is trusted, holds no statistics.
    """
    if not config.normalize:
        return None
    folder.check(agent, seed)
    found = read_normaliser(folder.statistics(agent, seed))
    statistics = make_envs(replace(config, n_envs=1), seed)
    statistics.close()
    if not isinstance(found, Normaliser) or not isinstance(statistics, VecNormalize):
        return None
    running: Any = statistics.obs_rms
    running.mean, running.var = found.mean, found.var
    statistics.epsilon, statistics.clip_obs = found.epsilon, found.clip_obs
    statistics.training = False
    return statistics


def _start(config: RunConfig, stage: Stage) -> _Training:
    env = make_envs(config, stage.seed)
    model = make_model(config, env, stage.seed, stage.actor, stage.timesteps)
    sparsifier = _sparsifier(config, stage, model)
    return _Training(model, sparsifier, [], 0.0)


def _resume(config: RunConfig, stage: Stage, checkpoint: Path) -> _Training:
    facts = read_json(checkpoint / "facts.json")
    world = (checkpoint / "world.pkl").read_bytes()
    statistics = checkpoint / "vecnormalize.pkl"
    # Where the world could not be saved, the old seeds would replay the training's first steps.
    seed = stage.seed if world else stage.seed + int(facts["timesteps"])
    env = make_envs(config, seed, statistics if config.normalize else None)
    model = algorithm(config.algo).load(
        checkpoint / "model.zip", env=env, device="cpu", force_reset=not world
    )
    if not world:
        model.set_random_seed(seed)
    if isinstance(model, OffPolicyAlgorithm):
        model.load_replay_buffer(checkpoint / "replay.pkl")
    sparsifier = _sparsifier(config, stage, model)
    if sparsifier is not None:
        sparsifier.load_state_dict(torch.load(checkpoint / "sparsifier.pt", weights_only=True))
    rows: list[dict[str, Any]] = [dict(row) for row in read_rows(checkpoint / "curve.csv")]
    inexact = facts["inexact"] or facts["unsaved"]
    return _Training(model, sparsifier, rows, float(facts["seconds"]), world, inexact)


def _sparsifier(config: RunConfig, stage: Stage, model: BaseAlgorithm) -> Sparsifier | None:
    if stage.agent != "pruned":
        return None
    return make_sparsifier(config, model.policy, stage.seed)


def _learn(
    config: RunConfig,
    stage: Stage,
    training: _Training,
    checkpoints: Path,
    *,
    display: Display,
    extras: Extras,
) -> CurveRecorder:
    model, sparsifier = training.model, training.sparsifier

    def sparsity() -> float:
        return 0.0 if sparsifier is None else sparsifier.sparsity(next(iter(sparsifier.parts)))

    def note() -> str:
        parts = []
        if (recent := recorder.recent_return()) is not None:
            parts.append(f"return {recent:.1f}")
        if sparsifier is not None:
            parts.append(f"sparsity {sparsity():.3f}")
        return ", ".join(parts)

    def save() -> None:
        world, unsaved = save_world(model)
        save_checkpoint(
            checkpoints,
            model.num_timesteps,
            lambda path: _write(path, training, recorder, world),
            {"seconds": recorder.seconds, "inexact": training.inexact, "unsaved": unsaved},
        )

    recorder = CurveRecorder(sparsity, training.rows, training.seconds)
    progress = StageProgress(display, stage.sections, note)
    callbacks: list[BaseCallback] = [
        *extras.callbacks,
        recorder,
        progress,
        Checkpoints(config.checkpoint_seconds, save, training.restore),
    ]
    if sparsifier is not None:
        where = len(extras.callbacks)
        callbacks.insert(where, sparsifier.callback(total_timesteps=stage.timesteps))
    interval = None
    if extras.logger is not None:
        model.set_logger(extras.logger)
        interval = LOG_ROLLOUTS if config.on_policy else LOG_EPISODES
    try:
        model.learn(
            stage.timesteps - model.num_timesteps,
            callback=callbacks,
            log_interval=interval,  # type: ignore[arg-type]  # None is allowed, and means no log
            reset_num_timesteps=model.num_timesteps == 0,
        )
    finally:
        progress.close()
    return recorder


def _write(path: Path, training: _Training, recorder: CurveRecorder, world: bytes) -> None:
    """Fill a checkpoint folder."""
    model = training.model
    save_model(model, path / "model.zip", path / "vecnormalize.pkl")
    if isinstance(model, OffPolicyAlgorithm):
        with written_whole(path / "replay.pkl") as stream:
            pickle.dump(model.replay_buffer, stream, protocol=pickle.HIGHEST_PROTOCOL)
    if training.sparsifier is not None:
        _save_sparsifier(training.sparsifier, path / "sparsifier.pt")
    write_rows(path / "curve.csv", CURVE_COLUMNS, recorder.rows)
    write_bytes(path / "world.pkl", world)


def _finish(stage: Stage, training: _Training, recorder: CurveRecorder, folder: RunFolder) -> None:
    agent, seed = stage.agent, stage.seed
    model = training.model
    files = [folder.curve(agent, seed)]
    if training.sparsifier is not None:
        _save_sparsifier(training.sparsifier, folder.sparsifier(seed))
        files.append(folder.sparsifier(seed))
    write_rows(folder.curve(agent, seed), CURVE_COLUMNS, recorder.rows)
    files += save_model(model, folder.model(agent, seed), folder.statistics(agent, seed))
    facts = {
        "timesteps": model.num_timesteps,
        "seconds": round(recorder.seconds, 3),
        "resumed": bool(training.inexact),
    }
    folder.mark_done(agent, seed, facts, files)
    if (env := model.get_env()) is not None:
        env.close()


def _save_sparsifier(sparsifier: Sparsifier, path: Path) -> None:
    content = io.BytesIO()
    torch.save(sparsifier.state_dict(), content)
    write_bytes(path, content.getvalue())


def save_model(model: BaseAlgorithm, path: Path, statistics: Path) -> list[Path]:
    """Write a model and its `VecNormalize` statistics where it has some; gives what was written."""
    # In memory first: torch answers a full disk with an error that does not say so.
    content = io.BytesIO()
    model.save(content)
    write_bytes(path, content.getvalue())
    if (normalizer := model.get_vec_normalize_env()) is None:
        return [path]
    write_bytes(statistics, pickle.dumps(normalizer))
    return [path, statistics]


def sections_of(config: RunConfig, agent: str) -> Sequence[tuple[str, int]]:
    """Titles of the progress bars of one agent's training, each with its last step."""
    if agent == "dense":
        return (("2/5 dense agent", config.total_timesteps),)
    if agent == "tiny":
        return (("5/5 tiny dense", config.total_timesteps),)
    _, stop = config.ramp_steps
    tail = (("4/5 fine-tune", config.pruned_timesteps),) if stop < config.pruned_timesteps else ()
    return (("3/5 prune", stop), *tail)
