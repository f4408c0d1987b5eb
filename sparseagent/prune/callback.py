"""Pruning inside `model.learn` of Stable-Baselines3."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch.optim import Optimizer

from sparseagent.agents import adapt, optimizers_of
from sparseagent.agents.pruned import note_kept
from sparseagent.prune.checks import require_count
from sparseagent.prune.masking import holds

if TYPE_CHECKING:
    from sparseagent.prune.sparsifier import Sparsifier


class SparsifierCallback(BaseCallback):
    """Attaches a sparsifier to the optimizers of a model for the time of `model.learn`.

    Progress is taken from the environment steps, not from a count of gradient updates: how many
    updates a run makes is not known beforehand (PPO stops an epoch early at `target_kl`, episodes
    end when they like), the number of environment steps is. Within the training phase that follows
    a rollout, progress runs on with the updates, from where the last rollout ended to where this
    one did; a phase that ends early is made up for by the next. Off-policy algorithms start to
    count at `learning_starts`, before which nothing is learned. So progress stays in proportion to
    the gradient updates, and ends at 1 whatever their number.

    A run that was saved and resumed with `model.learn(rest, reset_num_timesteps=False)` and the
    state of the sparsifier goes on where it stopped. Training dense first, and pruning in a later
    call with `reset_num_timesteps=False`, counts from that call.

    A schedule that goes by reports is told the return of every training episode, as a `Monitor`
    sees it. Where `Warmup` never saw it rise, a warning at the end says so.

    Logs `prune/sparsity`, and `prune/sparsity_<part>` where there are several parts.

    Args:
        sparsifier: Made from the policy of the model that learns.
        total_timesteps: `model.num_timesteps` at the end of the run, where `model.learn` is called
            for pieces of it; `None` where this call of `model.learn` ends the run.

    Raises:
        TypeError: At the start, the model is of an unknown kind.
        ValueError: At the start, the model has another policy, or nothing would be learned.
        RuntimeError: At the end, the final sparsity was not reached: training was stopped early, or
            nothing was learned; or too few episodes ended for a schedule that goes by them.
    """

    def __init__(self, sparsifier: Sparsifier, total_timesteps: int | None = None) -> None:
        super().__init__()
        if total_timesteps is not None:
            require_count("total_timesteps", total_timesteps)
        self.sparsifier = sparsifier
        self._total_timesteps = total_timesteps
        self._start = self._end = self._total = 0
        self._from = self._to = 0.0
        self._rollout_start = self._made = self._updates_before = 0
        self._expected = 0.0

    def _on_training_start(self) -> None:
        model = self.model
        if model.policy is not self.sparsifier.module:
            raise ValueError(
                "sparsifier: expected one made from the policy of this model, got one of another "
                "module; after loading a model, make a new Sparsifier(model.policy, ...)"
            )
        if not isinstance(model, (OnPolicyAlgorithm, OffPolicyAlgorithm)):
            raise TypeError(
                "model: expected an on-policy or off-policy algorithm, got "
                f"{type(model).__name__}; call Sparsifier.attach in a loop of your own"
            )
        self._set_range()
        self._updates_before = self.sparsifier.updates
        # What an interrupted `learn` may have left behind.
        self.sparsifier.detach()
        agent = adapt(model)
        clock = None if agent is None else agent.acting_optimizer()
        for optimizer in optimizers_of(self.model.policy):
            if optimizer is clock:
                self.sparsifier.attach(optimizer, progress=self._after_update)
            elif self._holds_pruned(optimizer):
                self.sparsifier.attach(optimizer)

    def _on_step(self) -> bool:
        if self.sparsifier.wants_reports:
            for info in self.locals["infos"]:
                if "episode" in info:
                    self.sparsifier.report(float(info["episode"]["r"]))
        return True

    def _on_rollout_start(self) -> None:
        self._rollout_start = self.model.num_timesteps
        self._from = self._progress_at(self._rollout_start)

    def _on_rollout_end(self) -> None:
        self._to = self._progress_at(self.model.num_timesteps)
        self._made, self._expected = 0, self._updates_in_phase()
        self.logger.record("prune/sparsity", self.sparsifier.sparsity())
        if len(self.sparsifier.parts) > 1:
            for part in self.sparsifier.parts:
                self.logger.record(f"prune/sparsity_{part}", self.sparsifier.sparsity(part))

    def _on_training_end(self) -> None:
        try:
            self._finish()
        finally:
            self.sparsifier.apply()
            self.sparsifier.detach()
            note_kept(self.model, self.sparsifier.masks)

    def _set_range(self) -> None:
        """Find the environment steps between which progress runs from 0 to 1."""
        model = self.model
        self._total = self._total_timesteps or int(self.locals["total_timesteps"])
        first = model.num_timesteps
        if isinstance(model, OffPolicyAlgorithm):
            first = max(first, model.learning_starts)
        saved = self.sparsifier.start_timestep
        # A saved start in the future belongs to an earlier run, before the steps were reset.
        self._start = first if saved is None or saved > first else saved
        if self._total <= self._start:
            raise ValueError(
                f"total_timesteps: expected more than {self._start}, where learning starts, got "
                f"{self._total}"
            )
        self.sparsifier.start_timestep = self._start
        self._end = self._total
        if isinstance(model, OnPolicyAlgorithm):
            # The last rollout is always a whole one.
            rollout = model.n_steps * model.n_envs
            self._end = self._start + math.ceil((self._total - self._start) / rollout) * rollout

    def _progress_at(self, timestep: int) -> float:
        return min(1.0, max(0.0, (timestep - self._start) / (self._end - self._start)))

    def _after_update(self) -> float:
        self._made += 1
        if self._made >= self._expected:
            return self._to
        return self._from + (self._to - self._from) * self._made / self._expected

    def _updates_in_phase(self) -> float:
        """Steps that the clock should make after the rollout that has just ended."""
        model = self.model
        if isinstance(model, OffPolicyAlgorithm):
            steps = model.num_timesteps - self._rollout_start
            updates = model.gradient_steps if model.gradient_steps >= 0 else steps
            return updates / getattr(model, "policy_delay", 1)
        assert isinstance(model, OnPolicyAlgorithm)
        size = model.n_steps * model.n_envs
        return getattr(model, "n_epochs", 1) * math.ceil(size / getattr(model, "batch_size", size))

    def _holds_pruned(self, optimizer: Optimizer) -> bool:
        policy = self.model.policy
        return any(holds(optimizer, policy.get_parameter(name)) for name in self.sparsifier.masks)

    def _warn_of_no_rise(self) -> None:
        if self.sparsifier.has_risen is False:
            warnings.warn(
                "the return did not rise before pruning had to begin (Warmup.latest): what was "
                "removed was chosen by an agent that had hardly learned",
                stacklevel=2,
            )

    def _finish(self) -> None:
        """End the ramp, or say why it cannot be ended."""
        sparsifier = self.sparsifier
        if sparsifier.wants_reports and not sparsifier.was_judged:
            raise RuntimeError(
                "training ended without enough episodes for the schedule to judge by: wrap the "
                "environments in a Monitor, train longer, or lower its average"
            )
        self._warn_of_no_rise()
        if sparsifier.frozen or sparsifier.finished:
            return
        reached = (
            f"sparsity {sparsifier.sparsity():.4f} of the final {sparsifier.final_sparsity}, at "
            f"progress {sparsifier.progress:.3f}"
        )
        if self.model.num_timesteps < self._total:
            if self._total_timesteps is not None:
                return
            raise RuntimeError(
                f"training stopped after {self.model.num_timesteps} of {self._total} environment "
                f"steps, before pruning was over: {reached}; call freeze() to keep these masks"
            )
        if sparsifier.updates == self._updates_before:
            raise RuntimeError(f"training ended without a gradient update: {reached}")
        sparsifier.step(1.0)
        if not sparsifier.finished:
            raise RuntimeError(f"the pattern left the final sparsity unreached: {reached}")
