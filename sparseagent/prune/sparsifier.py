"""The sparsifier: score, pattern, schedule and allocation put to work on one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sparseagent.prune import saving
from sparseagent.prune.allocation import Allocation
from sparseagent.prune.checks import (
    require_callable,
    require_count,
    require_fraction,
    require_method,
    require_sparsity,
)
from sparseagent.prune.choice import choose_masks
from sparseagent.prune.fixed_density import require_legal
from sparseagent.prune.layer import Layer, Selection
from sparseagent.prune.layout import CriticSparsity, Part, Targets, find_layout
from sparseagent.prune.mask_set import MaskSet
from sparseagent.prune.masking import Attachment, holds
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.pattern.unstructured import Unstructured
from sparseagent.prune.schedule import Schedule
from sparseagent.prune.score.protocol import Score
from sparseagent.prune.summary import summary_table

if TYPE_CHECKING:
    from sparseagent.prune.callback import SparsifierCallback

_UNSTRUCTURED = Unstructured()
_MASK_CHANGES = 1000


class Sparsifier:
    """Prunes a network while it trains, and keeps it pruned.

    The masks live here, beside the module: no key of a `state_dict` is renamed, no forward hook
    is added, and a deep copy of the module is a plain module. A step hook of the optimizer zeroes
    the pruned weights and their moments after every update; target networks share the masks. A
    pruned weight never comes back. Biases stay dense.

    What is pruned by default:

    - a plain `nn.Module`: the weights of all its `nn.Linear` layers, as one part, `"module"`;
    - PPO and A2C: the actor only. The value network does not run at inference, and pruning it is
      what costs these algorithms their return;
    - SAC, TD3 and DDPG: the actor at the schedule's sparsity s, the critics at max(0, s - 0.10) on
      the same ramp, with a budget of their own, and the target networks. The head of SAC's actor
      that predicts the standard deviation stays dense: deterministic actions do not use it;
    - DQN: the Q-network and its target.

    Features extractors are pruned with the one network they belong to; one that actor and value
    network share is left dense. Only `nn.Linear` layers are pruned.

    Args:
        module: A network, or `model.policy` of a Stable-Baselines3 model.
        score: Which weights matter.
        schedule: Sparsity over the progress of the run; it must not fall.
        pattern: Which shapes of zeros are legal.
        allocate: How the budget of a part is split over its layers; `None` for `erk`, or for what
            a pattern such as 2:4 says by itself.
        layers: Which layers, instead of the default: names of layers or of modules around them, or
            `predicate(name, linear) -> bool`, which narrows the default choice.
        targets: Target networks of a plain module, which get its masks: copies of the module, or of
            some of its submodules under the same names. Those of a policy are found.
        critic_sparsity: Final sparsity of the critics of a policy, in [0, 1); `None` for dense
            critics; `"auto"` for the default above.
        every: Gradient updates between two changes of the masks; `None` for about 1,000 changes
            in a run. The change that reaches the final sparsity is never late.

    Attributes:
        module: The network.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range or does not fit the module; the message names it.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        score: Score,
        schedule: Schedule,
        pattern: Pattern = _UNSTRUCTURED,
        allocate: Allocation | None = None,
        layers: Selection | None = None,
        targets: Targets = None,
        critic_sparsity: CriticSparsity = "auto",
        every: int | None = None,
    ) -> None:
        require_method("score", score, "score")
        require_method("pattern", pattern, "mask")
        require_callable("schedule", schedule, "(progress) -> sparsity, such as Cubic(to=0.9)")
        if allocate is not None:
            require_callable("allocate", allocate, "(scores, density) -> counts, such as erk")
        if every is not None:
            require_count("every", every)
        self.module = module
        self._score, self._pattern = score, pattern
        self._schedule, self._every = schedule, every
        self._final = _final_sparsity(schedule)
        layout = find_layout(
            module,
            final=self._final,
            layers=layers,
            targets=targets,
            critic_sparsity=critic_sparsity,
        )
        self._allocate = require_legal(layout, pattern, allocate)
        self._parts = layout.parts
        self._masks = MaskSet(layout)
        self._position = saving.Position()
        self._total_updates = 0
        self._attached: list[Attachment] = []

    @property
    def masks(self) -> dict[str, Tensor]:
        """Copies of the masks, `[out, in]` bool, True = kept, by the name of the weight."""
        return {name: mask.clone() for name, mask in self._masks.items()}

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Names of the pruned weights of each part, such as `"actor"`, in the module's order."""
        return {part.name: tuple(layer.name for layer in part.layers) for part in self._parts}

    @property
    def final_sparsity(self) -> dict[str, float]:
        """Sparsity of each part at the end of the schedule."""
        return {part.name: part.final for part in self._parts}

    @property
    def finished(self) -> bool:
        """Whether every part has reached its final sparsity."""
        return all(self._masks.kept(part.layers) <= part.budget(part.final) for part in self._parts)

    @property
    def frozen(self) -> bool:
        """Whether `freeze` was called."""
        return self._position.frozen

    @property
    def updates(self) -> int:
        """Optimizer steps counted so far."""
        return self._position.updates

    @property
    def progress(self) -> float:
        """Share of the run that was over when the masks were last looked at, in [0, 1]."""
        return self._position.progress

    @property
    def start_timestep(self) -> int | None:
        """Environment step from which `callback` counts, `None` before; part of the saved state."""
        return self._position.start_timestep

    @start_timestep.setter
    def start_timestep(self, timestep: int) -> None:
        self._position.start_timestep = timestep

    def sparsity(self, name: str | None = None) -> float:
        """Fraction of zeros that the masks hold now, in [0, 1).

        Args:
            name: A part or a weight; `None` for all pruned layers together.

        Raises:
            ValueError: No part and no weight has this name.
        """
        named: dict[str, tuple[Layer, ...]] = {i.name: (i,) for i in self._masks.layers}
        named.update({part.name: part.layers for part in self._parts})
        if name is None:
            return self._masks.sparsity(self._masks.layers)
        if name not in named:
            raise ValueError(f"name: expected one of {[*self.parts, *self._masks]}, got {name!r}")
        return self._masks.sparsity(named[name])

    def layer_sparsity(self) -> dict[str, float]:
        """Sparsity of each pruned layer, by the name of its weight."""
        return {layer.name: self._masks.sparsity([layer]) for layer in self._masks.layers}

    def summary(self) -> str:
        """A text table: weight, part, shape, kept weights and sparsity, with totals."""
        return summary_table(self._parts, self._masks)

    def step(self, progress: float) -> None:
        """Bring the masks to the schedule's sparsity at `progress`, now.

        For loops without optimizer hooks, and for pruning outside of training. Where there is
        more sparsity than the schedule asks for, nothing changes.

        Args:
            progress: Share of the run that is over, in [0, 1].

        Raises:
            RuntimeError: The masks are frozen.
            ValueError: `progress` is out of range, or score, pattern or allocation broke its
                contract.
        """
        require_fraction("progress", progress)
        if self.frozen:
            raise RuntimeError("step: the masks are frozen; make a new Sparsifier to prune further")
        self._position.progress = progress
        requested = self._requested(progress)
        if requested > self._position.reached:
            for part in self._parts:
                self._prune(part, requested)
            self._position.reached = requested
            self.apply()

    def advance(self, progress: float) -> None:
        """Count one gradient update, and change the masks if it is time to.

        Args:
            progress: Share of the run that is over with this update, in [0, 1].
        """
        require_fraction("progress", progress)
        self._position.updates += 1
        self._look(progress)

    def freeze(self) -> None:
        """Keep the masks as they are from now on: fine-tuning goes on under them."""
        self._position.frozen = True

    def apply(self) -> None:
        """Zero the pruned weights, their twins in target networks, and their moments.

        The hooks do this by themselves. Call it after weights were loaded or copied from elsewhere.
        """
        self._masks.zero_weights()
        for attachment in self._attached:
            attachment.zero(self._masks.factors)

    def attach(
        self,
        optimizer: Optimizer,
        total_updates: int | None = None,
        *,
        progress: Callable[[], float] | None = None,
    ) -> None:
        """Keep the pruned weights at zero after each step of an optimizer, and prune on the way.

        Call it for every optimizer that updates pruned weights, in the order in which they step.
        Progress is the number of steps so far, divided by the sum of the `total_updates` of all of
        them. The masks of all networks change after a step of the last one, because then no
        backward pass of another network is under way that still needs the weights as they were.

        Args:
            optimizer: Any `torch.optim.Optimizer`.
            total_updates: Steps it makes in the whole run, those before a resume included. With
                neither this nor `progress` its steps do not count: the weights are kept at zero,
                and `step` prunes.
            progress: Instead of a number of steps, a function called after each step that returns
                the share of the run that is over, in [0, 1].

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: The optimizer is attached already or holds no pruned weight, or both
                `total_updates` and `progress` are given.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer: expected a torch.optim.Optimizer, got {type(optimizer).__name__}"
            )
        if any(attachment.optimizer is optimizer for attachment in self._attached):
            raise ValueError("optimizer: expected one that is not attached yet, got it again")
        held = tuple(layer for layer in self._masks.layers if holds(optimizer, layer.weight))
        if not held and progress is None:
            raise ValueError(
                "optimizer: expected one that holds a pruned weight, got one with other parameters"
            )
        if total_updates is not None:
            require_count("total_updates", total_updates)
            if progress is not None:
                raise ValueError("progress: expected None beside total_updates, got both")
            self._total_updates += total_updates
            progress = self._counted_progress
        attachment = Attachment(optimizer, held, progress)
        attachment.handles.append(
            optimizer.register_step_post_hook(lambda *_: self._after_step(attachment))
        )
        self._attached.append(attachment)
        self.apply()
        if progress is not None and self.updates == 0 and not self.frozen:
            self.step(0.0)

    def detach(self) -> None:
        """Remove all hooks. The masks stay, but nothing keeps the weights at zero any more."""
        for attachment in self._attached:
            attachment.remove()
        self._attached.clear()
        self._total_updates = 0

    def callback(self, total_timesteps: int | None = None) -> SparsifierCallback:
        """A Stable-Baselines3 callback that prunes during `model.learn`.

        Args:
            total_timesteps: `model.num_timesteps` at the end of the run, where `model.learn` is
                called for pieces of it; `None` where this call of `model.learn` ends the run.
        """
        from sparseagent.prune.callback import SparsifierCallback

        return SparsifierCallback(self, total_timesteps)

    def state_dict(self) -> dict[str, Any]:
        """Masks, counters and position in the schedule: plain values and CPU tensors only.

        `torch.save` and `torch.load(weights_only=True)` take it. The weights are not in it.
        """
        return saving.to_state(self._masks, self._position)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state, and zero the weights it prunes.

        Load it into a sparsifier with the same arguments, after the weights were loaded. The run
        then goes on as if it had never stopped.

        Args:
            state: What `state_dict` returned.

        Raises:
            TypeError: `state` is not a mapping.
            ValueError: It is no such state, or its names or shapes are not those of this module.
        """
        masks, self._position = saving.from_state(state, self._masks)
        self._masks.replace(masks)
        self.apply()

    def _requested(self, progress: float) -> float:
        sparsity = self._schedule(progress)
        require_sparsity(f"schedule({progress})", sparsity)
        return min(sparsity, self._final)

    def _prune(self, part: Part, requested: float) -> None:
        # A part with another final sparsity follows the same ramp, scaled. The division makes its
        # end exact.
        sparsity = requested if part.final == self._final else requested / self._final * part.final
        if part.budget(sparsity) >= self._masks.kept(part.layers):
            return
        self._masks.replace(
            choose_masks(
                part,
                self._masks,
                sparsity,
                score=self._score,
                allocate=self._allocate,
                pattern=self._pattern,
            )
        )

    def _counted_progress(self) -> float:
        return min(1.0, self.updates / self._total_updates)

    def _after_step(self, attachment: Attachment) -> None:
        attachment.zero(self._masks.factors)
        if attachment.clock is None:
            return
        self._position.updates += 1
        clocks = [other for other in self._attached if other.clock is not None]
        progress = attachment.clock()
        if attachment is clocks[-1] or progress >= 1.0:
            self._look(progress)

    def _look(self, progress: float) -> None:
        """Change the masks if it is time to."""
        position = self._position
        before, position.progress = position.progress, progress
        checked, position.checked = position.checked, position.updates
        if self.frozen or position.reached >= self._final:
            return
        if self._every is None:
            due = int(progress * _MASK_CHANGES) > int(before * _MASK_CHANGES)
        else:
            due = position.updates // self._every > checked // self._every
        if due or self._requested(progress) >= self._final:
            self.step(progress)


def _final_sparsity(schedule: Schedule) -> float:
    """The sparsity at the end, after a look at the whole way: what is pruned cannot come back."""
    before = 0.0
    for progress in (percent / 100.0 for percent in range(101)):
        sparsity = schedule(progress)
        require_sparsity(f"schedule({progress})", sparsity)
        if sparsity < before:
            raise ValueError(
                f"schedule: expected a sparsity that never falls, got {before} and then {sparsity} "
                f"at progress {progress}"
            )
        before = sparsity
    return before
