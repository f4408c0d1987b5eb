"""What methods need to train an agent: the stage of a run, without its other stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparseagent.environments import register_environment
from sparseagent.train.config import RunConfig

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback

    from sparseagent.study.method.protocol import Job, Trained


def train_agent(
    job: Job,
    agent: str,
    actor: tuple[int, ...] | None = None,
    callbacks: tuple[BaseCallback, ...] = (),
) -> Trained:
    """Train one agent, or go on from its checkpoint, or find it trained.

    Args:
        job: the training asked for.
        agent: `"dense"`, `"tiny"` or `"pruned"`; only the last is pruned.
        actor: widths of the actor's hidden layers, where they are not those of the run; none for a
            linear actor.
        callbacks: what the method does besides.
    """
    from sparseagent.study.method.protocol import Trained
    from sparseagent.train.stage import Extras, Stage, train_stage

    config = job.config
    timesteps = config.pruned_timesteps if agent == "pruned" else config.total_timesteps
    stage = Stage(
        agent,
        job.seed,
        timesteps,
        config.net_arch if actor is None else actor,
        ((agent, timesteps),),
    )
    train_stage(config, stage, job.folder, job.display, Extras(callbacks, job.logger))
    facts = job.folder.facts(agent, job.seed)
    resumed = bool(facts.get("resumed"))
    return Trained(agent, int(facts["timesteps"]), float(facts["seconds"]), resumed=resumed)


def full_widths(config: RunConfig) -> tuple[int, ...]:
    """Widths of the actor that is not pruned: inputs, hidden layers, outputs."""
    import gymnasium
    import numpy as np

    register_environment(config.env)
    env = gymnasium.make(config.env)
    observations, actions = env.observation_space, env.action_space
    env.close()
    inputs = int(np.prod(observations.shape or (1,)))
    if isinstance(actions, gymnasium.spaces.Discrete):
        outputs = int(actions.n)
    else:
        outputs = int(np.prod(actions.shape or (1,)))
    return (inputs, *config.net_arch, outputs)
