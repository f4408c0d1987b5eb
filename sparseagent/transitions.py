"""Collect a batch of experience with a policy: what an on-policy learner keeps of every step.

`collect` steps vector environments with a compiled policy that samples, and gives arrays:
observations, actions, rewards, ends, log-probabilities and values, from one call of the policy a
step. `Transitions.advantages` is generalised advantage estimation over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparseagent.environments import make_gymnasium, stream_seed
from sparseagent.plan import Plan
from sparseagent.rollouts import as_choose
from sparseagent.sampling import Sample, Sampler
from sparseagent.vector_envs import (
    as_vector_env,
    autoreset_mode,
    check_observations,
    is_envpool,
    space_of,
)

__all__ = ["Transitions", "collect"]


@dataclass(frozen=True, eq=False)
class Transitions:
    """`T` steps of `N` environments.

    Attributes:
        observations: what the policy saw, `[T, N, *shape]`; of Dict observations a dict of arrays.
        actions: what it drew, `[T, N, *shape]`, before clipping or stretching to the action space:
            `log_probs` are theirs.
        rewards: float32 `[T, N]`.
        terminated: where an episode ended by itself, bool `[T, N]`.
        truncated: where it was cut off, bool `[T, N]`.
        episode_starts: where the observation is the first of an episode, bool `[T, N]`.
        valid: False where an environment of autoreset mode NextStep only reset, bool `[T, N]`:
            there is no transition to learn from.
        log_probs: float32 `[T, N]`; None for policies without a distribution.
        values: float32 `[T, N]`; None for policies without the output `value`.
        final_values: value of the last observation of episodes that were cut off, 0 elsewhere,
            float32 `[T, N]`; None without `value`.
        next_values: value of `next_observation`, float32 `[N]`; None without `value`.
        next_observation: what comes after the last step, `[N, *shape]`.
        next_starts: where `next_observation` is the first of an episode, bool `[N]`.
        next_step: how many steps have been made since the environments were reset.
    """

    observations: Any
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    episode_starts: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]
    log_probs: npt.NDArray[np.float32] | None
    values: npt.NDArray[np.float32] | None
    final_values: npt.NDArray[np.float32] | None
    next_values: npt.NDArray[np.float32] | None
    next_observation: Any
    next_starts: npt.NDArray[np.bool_]
    next_step: int

    def advantages(
        self, *, gamma: float = 0.99, gae_lambda: float = 0.95
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Generalised advantage estimation (Schulman et al., 2016): advantages and returns.

        An episode that was cut off goes on with the value of its last observation.

        Args:
            gamma: discount, in [0, 1].
            gae_lambda: 0 for one-step differences, 1 for whole returns.

        Returns:
            Advantages and `advantages + values`, both float32 `[T, N]`; of no meaning where not
            `valid`.

        Raises:
            ValueError: the policy gave no values, or a number is out of range.
        """
        for name, given in (("gamma", gamma), ("gae_lambda", gae_lambda)):
            if not 0 <= given <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {given}")
        if self.values is None or self.final_values is None or self.next_values is None:
            raise ValueError("advantages: expected a policy with an output 'value', got none")
        found = np.zeros(self.values.shape)
        after, next_value = np.zeros(self.values.shape[1]), self.next_values.astype(np.float64)
        for t in reversed(range(len(found))):
            ended = self.terminated[t] | self.truncated[t]
            # final_values are 0 where the episode ended by itself.
            following = np.where(ended, self.final_values[t], next_value)
            delta = self.rewards[t] + gamma * following - self.values[t]
            after = delta + gamma * gae_lambda * np.where(ended, 0.0, after)
            found[t] = after
            next_value = self.values[t].astype(np.float64)
        advantages = found.astype(np.float32)
        return advantages, advantages + self.values


class _Decision(NamedTuple):
    """What a policy says of one step; `raw` is what is kept."""

    action: npt.NDArray[Any]
    raw: npt.NDArray[Any]
    log_prob: npt.NDArray[np.float32] | None
    value: npt.NDArray[np.float32] | None


def collect(
    act: Any,
    env: Any,
    steps: int,
    *,
    seed: int = 0,
    num_envs: int = 8,
    deterministic: bool = False,
    after: Transitions | None = None,
) -> Transitions:
    """Make `steps` steps in each of `N` environments and keep what a learner needs.

    The same seed gives the same transitions again, on every machine on which the environments do
    the same, and whatever is collected at a time: `collect(..., 64)` and then
    `collect(..., 64, after=first)` are one collection of 128 steps in two parts.

    Args:
        act: a compiled `Plan`, a `Sampler` (which keeps its own seed and step), or anything with
            `predict(obs, deterministic=...) -> (actions, state)`, which gives no log-probabilities.
        env: an environment id, or a ready environment as for `rollout`, which is left open.
        steps: steps of every environment, at least 1.
        seed: of the environments and of the policy's random numbers, at least 0.
        num_envs: environments to make from an id.
        deterministic: whether the policy takes the mode of its distribution.
        after: a collection of the same ready environment to go on from, without resetting it.

    Returns:
        The transitions. Actions that leave a Box are clipped on their way to the environment.

    Raises:
        ValueError: an argument is out of range, or observations do not fit.
        TypeError: `env` is none of the accepted kinds.
    """
    for name, number, least in (("steps", steps, 1), ("num_envs", num_envs, 1), ("seed", seed, 0)):
        if number < least:
            raise ValueError(f"{name}: expected {least} or more, got {number}")
    owned = isinstance(env, str)
    if owned and after is not None:
        raise ValueError("after: expected a ready environment to go on in, got an id")
    vec = make_gymnasium(env, num_envs, "sync", {}) if owned else as_vector_env(env, {})
    try:
        check_observations(act, vec)
        _check_memory(act)
        step = 0 if after is None else after.next_step
        decide = _as_decide(act, seed, step, deterministic)
        if after is None:
            first = {} if is_envpool(vec) else {"seed": stream_seed(seed)}
            observation, _ = vec.reset(**first)
            starts = np.ones(int(vec.num_envs), np.bool_)
            resets = ~starts
        else:
            observation, starts = after.next_observation, after.next_starts
            resets = after.terminated[-1] | after.truncated[-1]
        resets &= autoreset_mode(vec) == "NextStep"
        return _steps(vec, decide, _value_of(act), observation, starts, resets, steps, step)
    finally:
        if owned:
            vec.close()


def _check_memory(act: Any) -> None:
    """Raise ValueError for a compiled policy with states, which are not kept between steps here."""
    plan = act.plan if isinstance(act, Sampler) else act
    if isinstance(plan, Plan) and plan.policy.program.states:
        raise ValueError(
            "act: expected a policy without memory, got one with states; step it by yourself with "
            "act.sample(obs, state=..., episode_start=...)"
        )


def _as_decide(
    act: Any, seed: int, step: int, deterministic: bool
) -> Callable[[Any, npt.NDArray[np.bool_]], _Decision]:
    """One signature for all policies: (observations, which episodes begin) to a decision."""
    if isinstance(act, Plan) and act.policy.head.samples:
        if deterministic:
            return lambda x, _: _decision(act.sample(x, deterministic=True))
        act = Sampler(act, seed, step=step)
    if isinstance(act, Sampler) and not deterministic:
        sampler = act
        return lambda x, _: _decision(sampler.sample(x))
    choose = as_choose(act, deterministic=deterministic)

    def decide(observation: Any, begins: npt.NDArray[np.bool_]) -> _Decision:
        action = choose(observation, begins)
        return _Decision(action, action, None, None)

    return decide


def _decision(sample: Sample) -> _Decision:
    return _Decision(sample.action, sample.raw_action, sample.log_prob, sample.value)


def _value_of(act: Any) -> Callable[[Any], npt.NDArray[np.float32]] | None:
    """The values of a batch of observations; None for a policy that knows none."""
    plan = act.plan if isinstance(act, Sampler) else act
    if not isinstance(plan, Plan) or "value" not in plan.policy.program.outputs:
        return None
    return lambda observation: plan.outputs(observation)["value"].reshape(-1)


def _steps(  # noqa: PLR0917
    vec: Any,
    decide: Callable[[Any, npt.NDArray[np.bool_]], _Decision],
    value_of: Callable[[Any], npt.NDArray[np.float32]] | None,
    observation: Any,
    starts: npt.NDArray[np.bool_],
    resets: npt.NDArray[np.bool_],
    steps: int,
    before: int,
) -> Transitions:
    """The loop; `resets` says where the first step only resets (mode NextStep)."""
    mode, clip = autoreset_mode(vec), _bounds_of(space_of(vec, "action"))
    shape = (steps, int(vec.num_envs))
    rewards, final_values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    terminated, truncated, episode_starts, valid = (np.zeros(shape, np.bool_) for _ in range(4))
    seen, decisions = [], []
    for t in range(steps):
        decision = decide(observation, starts)
        seen.append(_copy(observation))
        decisions.append(decision)
        episode_starts[t], valid[t] = starts, ~resets
        observation, rewards[t], ended, cut, infos = vec.step(clip(decision.action))
        terminated[t], truncated[t] = ended & ~resets, cut & ~resets & ~ended
        over = terminated[t] | truncated[t]
        if value_of is not None and truncated[t].any():
            final = _finals(observation, infos, mode, truncated[t])
            final_values[t, truncated[t]] = value_of(final)
        starts, resets = (resets, over) if mode == "NextStep" else (over, resets)
        if mode == "Disabled" and over.any():
            observation, _ = vec.reset(options={"reset_mask": over})
    return Transitions(
        observations=_stack(seen),
        actions=np.stack([decision.raw for decision in decisions]),
        rewards=rewards,
        terminated=terminated,
        truncated=truncated,
        episode_starts=episode_starts,
        valid=valid,
        log_probs=_stacked([decision.log_prob for decision in decisions]),
        values=_stacked([decision.value for decision in decisions]),
        final_values=None if value_of is None else final_values,
        next_values=None if value_of is None else value_of(observation),
        next_observation=_copy(observation),
        next_starts=starts,
        next_step=before + steps,
    )


def _stacked(rows: list[npt.NDArray[np.float32] | None]) -> npt.NDArray[np.float32] | None:
    known = [row for row in rows if row is not None]
    return np.stack(known) if known else None


def _bounds_of(space: Any) -> Callable[[Any], Any]:
    """What brings actions into a Box; others are left as they are."""
    low, high = getattr(space, "low", None), getattr(space, "high", None)
    if low is None or high is None:
        return lambda actions: actions
    return lambda actions: np.clip(actions, low, high)


def _finals(observation: Any, infos: Any, mode: str, ended: npt.NDArray[np.bool_]) -> Any:
    """The last observations of the episodes that ended, `[ended.sum(), *shape]`."""
    if mode != "SameStep":
        return _apply(lambda array: array[ended], observation)
    return _stack([infos["final_obs"][i] for i in np.flatnonzero(ended)])


def _copy(observation: Any) -> Any:
    return _apply(np.array, observation)


def _stack(observations: list[Any]) -> Any:
    """Arrays, or dicts of arrays, one behind the other along a new first axis."""
    if not isinstance(observations[0], dict):
        return np.stack(observations)
    return {key: np.stack([each[key] for each in observations]) for key in observations[0]}


def _apply(function: Callable[[Any], Any], observation: Any) -> Any:
    if not isinstance(observation, dict):
        return function(observation)
    return {key: function(array) for key, array in observation.items()}
