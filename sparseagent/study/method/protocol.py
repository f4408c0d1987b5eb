"""What a method is, and what it gets to do its work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sparseagent.train.config import RunConfig
from sparseagent.train.folder import RunFolder

if TYPE_CHECKING:
    from stable_baselines3.common.logger import Logger

    from sparseagent.train.progress import Display


@dataclass(frozen=True)
class Job:
    """One training that a method is asked for.

    Attributes:
        config: the run; its sparsity is the one asked for.
        seed: training seed.
        folder: where models and checkpoints lie.
        display: where progress is shown.
        logger: where losses and returns are logged.
    """

    config: RunConfig
    seed: int
    folder: RunFolder
    display: Display
    logger: Logger | None


@dataclass(frozen=True)
class Trained:
    """What a method has made.

    Attributes:
        agent: the name under which the run folder holds the model.
        timesteps: environment steps, all trainings that were needed together.
        seconds: processor seconds of training.
        env: the environment in which the agent acts, where it is not that of the job.
        resumed: whether the training was broken off and could not go on with the same bits.
    """

    agent: str
    timesteps: int
    seconds: float
    env: str | None = None
    resumed: bool = False


class Method(Protocol):
    """A way to train an agent; one object serves all runs and keeps no state."""

    @property
    def name(self) -> str:
        """How a study's file calls it: the name of its module."""

    @property
    def label(self) -> str:
        """How a report calls it."""

    @property
    def has_sparsity(self) -> bool:
        """Whether it is trained at a sparsity."""

    @property
    def prunes(self) -> bool:
        """Whether weights are pruned; the others are what pruning is compared with."""

    @property
    def must_reach(self) -> bool:
        """Whether an agent with more weights than its sparsity leaves is an error."""

    def configure(self, config: RunConfig) -> RunConfig:
        """The run as this method changes it."""

    def train(self, job: Job) -> Trained:
        """Train, or go on from a checkpoint; the model lies in the job's folder afterwards."""
