"""What sampling gives, and a stream of samples that counts its steps.

A sample is a function of a seed, the environment's number and a step: `Plan.predict` and
`Plan.sample` take all three, keep nothing, and give the same numbers however a batch is split, in
whatever order its rows come, on any machine. `Sampler` is that with the step counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from sparseagent.plan import Plan


class Sample(NamedTuple):
    """What a learner keeps of a step, for one observation or for a batch.

    Attributes:
        action: what the environment takes: clipped, stretched, counted from `start`.
        log_prob: float32 `()` or `[B]`, of `raw_action`, as Stable-Baselines3's buffers hold it.
        value: the output named `value`, float32 `()` or `[B]`, or `[B, size]` where it has several
            features; None where the program has none.
        raw_action: what was drawn, before `bounds` but after the tanh; of a discrete head `action`.
    """

    action: NDArray[Any]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32] | None
    raw_action: NDArray[Any]


class Sampler:
    """A plan that samples, step by step: Stable-Baselines3's `predict` with noise of its own.

    Every call that samples uses the next step, so a loop draws fresh numbers each time, and the
    same ones whenever it is run again from the same seed. It belongs to one loop: not to be called
    from several threads at once, while the plan may be. A pickled or copied one goes on from where
    it was.

    Args:
        plan: the compiled policy; its head must sample.
        seed: from 0 to 2^64 - 1.
        rows: the environments' numbers, `[B]`; None for 0, 1, ... A worker that plays environments
            8 to 15 of 32 gives those, and draws what one process would have drawn for them.
        step: the step of the next call.

    Raises:
        ValueError: the plan's head knows no distribution, or a number is out of range.
    """

    def __init__(
        self, plan: Plan, seed: int = 0, *, rows: ArrayLike | None = None, step: int = 0
    ) -> None:
        if not plan.policy.head.samples:
            raise ValueError(
                f"plan: expected a head that samples, got {plan.policy.head.kind}, which knows no "
                f"distribution"
            )
        for name, given in (("seed", seed), ("step", step)):
            if not 0 <= given < 1 << 64:
                raise ValueError(f"{name}: expected 0 to 2^64 - 1, got {given}")
        self.plan = plan
        self.seed = int(seed)
        self.rows = None if rows is None else np.array(rows)
        self.step = int(step)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[NDArray[Any], Any]:
        """`Plan.predict` of the next step: `(actions, state)`.

        A deterministic call draws nothing and leaves the step as it is.
        """
        if deterministic:
            return self.plan.predict(observation, state, episode_start, True, action_masks)
        result = self.plan.predict(
            observation,
            state,
            episode_start,
            False,
            action_masks,
            seed=self.seed,
            step=self.step,
            rows=self.rows,
        )
        self.step += 1
        return result

    def sample(self, observation: Any, *, action_masks: Any = None) -> Sample:
        """`Plan.sample` of the next step."""
        result = self.plan.sample(
            observation,
            action_masks=action_masks,
            seed=self.seed,
            step=self.step,
            rows=self.rows,
        )
        self.step += 1
        return result

    def __repr__(self) -> str:
        return f"<Sampler of {self.plan!r}, seed {self.seed}, step {self.step}>"
