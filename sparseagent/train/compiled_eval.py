"""Test the compiled policy during a training, as `EvalCallback` tests the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

import sparseagent as sa


class CompiledEval(BaseCallback):
    """Convert, compile and roll out the policy now and then.

    What is measured is what will be deployed, in a fraction of the time that `model.predict`
    takes. `eval/mean_reward`, `eval/iqm` and `eval/mean_ep_length` go to the model's logger, by
    the names that Stable-Baselines3's `EvalCallback` uses.

    Args:
        env: an environment id, or a ready environment, as for `sparseagent.rollout`; without a
            `VecNormalize`, for the statistics of the training are built into the policy.
        every: steps of the training between two tests, at least 1.
        episodes: episodes of a test.
        num_envs: environments that are made from an id.
        seed: of the episodes, the same in every test.
        best: where the policy file of the best mean return is written, or None.

    Attributes:
        results: the steps of the training and the result of each test.
        best_mean: the best mean return so far.

    Raises:
        ValueError: `every` is out of range.
    """

    def __init__(
        self,
        env: Any,
        *,
        every: int = 10_000,
        episodes: int = 20,
        num_envs: int = 8,
        seed: int = 0,
        best: str | Path | None = None,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every: expected 1 or more, got {every}")
        self.results: list[tuple[int, sa.RolloutResult]] = []
        self.best_mean = float("-inf")
        self._env, self._every, self._best = env, every, best
        self._episodes, self._num_envs, self._seed = episodes, num_envs, seed
        self._next = every

    def _on_step(self) -> bool:
        if self.num_timesteps < self._next:
            return True
        self._next = self.num_timesteps + self._every
        statistics = self.model.get_vec_normalize_env()
        policy = sa.from_sb3(self.model, vecnormalize=False if statistics is None else statistics)
        result = sa.rollout(
            sa.compile(policy),
            self._env,
            episodes=self._episodes,
            num_envs=self._num_envs,
            seed=self._seed,
        )
        self.results.append((self.num_timesteps, result))
        self.logger.record("eval/mean_reward", result.mean)
        self.logger.record("eval/iqm", result.iqm)
        self.logger.record("eval/mean_ep_length", float(result.lengths.mean()))
        if result.mean > self.best_mean:
            self.best_mean = result.mean
            if self._best is not None:
                policy.with_metadata(evaluated_return=result.mean).save(self._best)
        return True
