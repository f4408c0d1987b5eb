"""A trained agent as it is deployed: converted, compiled, compared with its model, and tested."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

import sparseagent as sa
from sparseagent.policy import SparsePolicy
from sparseagent.report import measure_latency
from sparseagent.train.config import RunConfig
from sparseagent.train.contenders import compiled, rows_of
from sparseagent.train.folder import RunFolder
from sparseagent.train.parity import Parity, check_parity, sample_observations
from sparseagent.train.stage import load_model, load_statistics

#: Seed of the test episodes, the same for all agents: they meet the same starts.
TEST_SEED = 1_000_003
TEST_ENVS = 8


@dataclass(frozen=True, eq=False)
class Deployed:
    """One trained agent and its compiled policy.

    Attributes:
        config: the run that trained it.
        name: `"dense"`, `"pruned"` or `"tiny"`.
        seed: of the training.
        model: the Stable-Baselines3 model.
        statistics: its `VecNormalize`, or None.
        policy: what the model was converted to.
        act: the policy, compiled.
    """

    config: RunConfig
    name: str
    seed: int
    model: BaseAlgorithm
    statistics: VecNormalize | None
    policy: SparsePolicy
    act: Any

    @cached_property
    def observations(self) -> npt.NDArray[Any]:
        """Observations `[512, *shape]` that the agent meets; see `sample_observations`."""
        return sample_observations(self.config.env, self.act, seed=self.seed)

    @cached_property
    def parity(self) -> Parity:
        """Whether the compiled policy acts like the model on `observations`."""
        return check_parity(self.policy, self.act, self.model, self.statistics, self.observations)

    def require_parity(self) -> None:
        """Refuse a compiled policy that does not act like its model.

        Raises:
            RuntimeError: an action differs.
        """
        parity = self.parity
        if not parity.holds:
            raise RuntimeError(
                f"{self.name} agent, seed {self.seed}: the compiled policy acts differently on "
                f"{parity.different} of {parity.observations} observations (largest distance "
                f"{parity.largest:.1e})"
            )

    def test(self, num_envs: int = TEST_ENVS) -> sa.RolloutResult:
        """Play the test episodes of the run, in `num_envs` environments at a time."""
        return sa.rollout(
            self.act,
            self.config.env,
            episodes=self.config.eval_episodes,
            num_envs=num_envs,
            seed=TEST_SEED,
        )

    def one_call_ns(self, calls: int) -> float:
        """Median wall time of one call for one observation, in nanoseconds."""
        call = compiled(self.policy, rows_of(self.observations[-1:]))
        (found,) = measure_latency({"compiled": call}, calls=calls)
        return found.p50_ns

    def save(self, path: Path, result: sa.RolloutResult, name: str | None = None) -> None:
        """Write the policy with what it returned in its test, and the agent's name or another."""
        self.policy.with_metadata(
            environment=self.config.env,
            agent=self.name if name is None else name,
            training_seed=self.seed,
            evaluated_return={
                "iqm": result.iqm,
                "ci95": list(result.ci95),
                "mean": result.mean,
                "std": result.std,
                "episodes": len(result.returns),
                "seed": TEST_SEED,
            },
        ).save(path)


def deploy(config: RunConfig, folder: RunFolder, name: str, seed: int) -> Deployed:
    """Load an agent of a run, convert it and compile it."""
    model = load_model(config, folder, name, seed)
    statistics = load_statistics(config, folder, name, seed)
    policy = sa.from_sb3(model, vecnormalize=False if statistics is None else statistics)
    return Deployed(config, name, seed, model, statistics, policy, sa.compile(policy))
