"""Lottery tickets: train, prune a share, rewind to the initial weights, and train again.

Frankle and Carbin, 2019; in deep RL: Vischer et al., 2022. Six trainings for one agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparseagent.study.method.protocol import Job, Trained
from sparseagent.train.config import RunConfig

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from sparseagent.prune import Sparsifier

ROUNDS = 5


class Lottery:
    """Iterative magnitude pruning with rewinding. An interrupted search starts over."""

    name = "lottery"
    label = "lottery ticket"
    has_sparsity = True
    prunes = True
    must_reach = True

    def configure(self, config: RunConfig) -> RunConfig:
        """The run as it is."""
        return config

    def train(self, job: Job) -> Trained:
        """All rounds; the model of the last one stays."""
        from sparseagent.prune import lottery
        from sparseagent.train.agent import make_envs, make_model
        from sparseagent.train.callbacks import CurveRecorder
        from sparseagent.train.stage import save_model

        config, seed, folder, agent = job.config, job.seed, job.folder, "pruned"
        if folder.is_done(agent, seed):
            facts = folder.facts(agent, seed)
            return Trained(agent, facts["timesteps"], facts["seconds"])
        recorder = CurveRecorder(lambda: 0.0, [])

        def start() -> BaseAlgorithm:
            return make_model(config, make_envs(config, seed), seed)

        def learn(model: BaseAlgorithm, sparsifier: Sparsifier) -> None:
            if job.logger is not None:
                model.set_logger(job.logger)
            model.learn(
                config.total_timesteps, callback=[sparsifier.callback(), recorder], log_interval=8
            )

        critic: Any = config.critic_sparsity
        tickets = lottery(
            start,
            learn,
            to=config.sparsity,
            rounds=ROUNDS,
            critic_sparsity=None if critic == 0 else critic,
        )
        for ticket in tickets:
            model = ticket.agent
        files = save_model(model, folder.model(agent, seed), folder.statistics(agent, seed))
        steps = (ROUNDS + 1) * config.total_timesteps
        facts = {"timesteps": steps, "seconds": round(recorder.seconds, 3)}
        folder.mark_done(agent, seed, facts, files)
        return Trained(agent, steps, recorder.seconds)


METHOD = Lottery()
