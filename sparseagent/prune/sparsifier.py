"""The sparsifier: score, pattern, schedule and allocation put to work on one module."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sparseagent.prune import saving
from sparseagent.prune.allocation import Allocation, erk
from sparseagent.prune.automatic import Automatic
from sparseagent.prune.checks import require_count, require_fraction
from sparseagent.prune.choice import exchange_part, prune_part
from sparseagent.prune.drop import Drop
from sparseagent.prune.growth.protocol import Growth
from sparseagent.prune.joint import is_joint
from sparseagent.prune.layer import Layer, Selection
from sparseagent.prune.layout import CriticSparsity, Part, Targets, find_layout
from sparseagent.prune.legality import require_legal
from sparseagent.prune.mask_set import MaskSet
from sparseagent.prune.masking import Attachment, held_layers
from sparseagent.prune.method import Method
from sparseagent.prune.observation import Averages
from sparseagent.prune.pace import Pace
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.pattern.unstructured import Unstructured
from sparseagent.prune.schedule import Schedule
from sparseagent.prune.score.protocol import Score
from sparseagent.prune.summary import summary_table

if TYPE_CHECKING:
    from sparseagent.prune.callback import SparsifierCallback

_UNSTRUCTURED = Unstructured()


class Sparsifier:
    """Prunes a network while it trains, and keeps it pruned.

    The masks live here: no key of a `state_dict` is renamed, no forward hook is added, and a deep
    copy of the module is a plain module. A step hook of the optimizer zeroes the pruned weights
    and their moments; target networks share the masks. Without `grow` a pruned weight never comes
    back. Biases stay dense.

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
        initial: Score of the first masks; `None` for `score`. Dynamic sparse training starts from
            `Random(seed)` masks and goes on by magnitude.
        grow: Which pruned weights come back when the masks change, such as `RandomGrowth(seed)`
            (SET) or `GradientGrowth()` (RigL); `None` for none ever. They start at zero.
        drop: Beside `grow`, the share of each layer's kept weights that is exchanged at a change
            of the masks, over the progress of the run, such as `CosineDrop(0.3)`.
        output_floor: Least density of the output layer of each network, in [0, 1], whatever the
            allocation says; the other layers of the part make up for it.
        rescale_initial: Where weights are pruned before training starts, scale what remains of
            each neuron's weights by 1 / sqrt(density of its fan-in), so that its input keeps its
            variance (Evci et al., "Gradient Flow in Sparse Neural Networks", 2022).
        mask_gradients: Zero the gradients of pruned weights after each backward pass, so that they
            take no part in a gradient norm that the loop clips. Not with `grow`.
        layers: Which layers, instead of the default: names of layers or of modules around them; or
            `predicate(name, linear) -> bool`, `Top(n)` or `Hidden()`, which narrow the default.
        targets: Target networks of a plain module, which get its masks: copies of the module, or of
            some of its submodules under the same names. Those of a policy are found.
        critic_sparsity: Final sparsity of the critics of a policy, in [0, 1); `None` for dense
            critics; `"auto"` for the default above.
        every: Gradient updates between two changes of the masks; `None` for about 1,000 changes
            in a run, 100 with `grow`. The change that reaches the final sparsity is never late.

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
        initial: Score | None = None,
        grow: Growth | None = None,
        drop: Drop | None = None,
        output_floor: float = 0.0,
        rescale_initial: bool = False,
        mask_gradients: bool = False,
        layers: Selection | None = None,
        targets: Targets = None,
        critic_sparsity: CriticSparsity = "auto",
        every: int | None = None,
    ) -> None:
        self._method = Method(
            score=score,
            schedule=schedule,
            pattern=pattern,
            allocate=erk if allocate is None else allocate,
            initial=initial,
            grow=grow,
            drop=drop,
            output_floor=output_floor,
            rescale_initial=rescale_initial,
            mask_gradients=mask_gradients,
        )
        if every is not None:
            require_count("every", every)
        self.module = module
        self._pace = Pace(self._method, every, schedule(1.0))
        layout = find_layout(
            module,
            final=self._pace.final,
            layers=layers,
            targets=targets,
            critic_sparsity=critic_sparsity,
            joint=is_joint(pattern),
        )
        require_legal(layout, self._method, allocate)
        self._parts = layout.parts
        self._masks = MaskSet(layout)
        self._observed = {role: Averages(method) for role, method in self._method.roles.items()}
        self._position = saving.Position()
        self._total_updates = 0
        self._attached: list[Attachment] = []
        self._milestones: list[tuple[float, Callable[[], None]]] = []

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
        """Whether every part has reached its final sparsity.

        With an automatic schedule, whether progress is past its stop.
        """
        if isinstance(self._method.schedule, Automatic):
            return self.progress >= self._method.schedule.stop
        return all(self._masks.kept(part.layers) <= part.budget(part.final) for part in self._parts)

    @property
    def frozen(self) -> bool:
        """Whether `freeze` was called."""
        return self._position.frozen

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Those that are attached."""
        return tuple(one.optimizer for one in self._attached)

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
        more sparsity than the schedule asks for, nothing changes. With `grow`, weights are
        exchanged as well, except with the first masks.

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
        position = self._position
        self._pace.move(position, progress)
        requested = self._pace.requested(position, progress)
        share = self._pace.share(position, progress)
        if requested <= position.reached and not share:
            return
        before, changed = self.masks, {}
        for part in self._parts:
            changed.update(self._changed(part, self._scaled(part, requested), share))
        # Only now, so that a part that cannot be pruned leaves the others as they were.
        self._masks.replace(changed)
        if self._method.rescale_initial and not position.updates:
            self._masks.rescale(before)
        position.changes += self._method.grow is not None and position.reached > 0.0
        position.reached = max(requested, position.reached)
        self.apply()

    def observe(self) -> None:
        """Let scores and growth see the present gradients of all pruned layers.

        The hooks do this before each step of an attached optimizer. Without them, call it between
        the backward pass and the step. Layers without a gradient are skipped.
        """
        self._observe(self._masks.layers)

    def report(self, signal: float) -> None:
        """Tell an automatic schedule how well the agent does; higher = better.

        Args:
            signal: Such as the return of an episode, or the negative loss of an update.

        Raises:
            ValueError: The schedule is not `Automatic`, or `signal` is not finite.
        """
        schedule = self._method.schedule
        if not isinstance(schedule, Automatic):
            raise ValueError(
                f"report: expected the schedule Automatic, got {type(schedule).__name__}"
            )
        if not math.isfinite(signal):
            raise ValueError(f"signal: expected a finite number, got {signal}")
        self._position.track = schedule.hear(self._position.track, float(signal))

    @property
    def wants_reports(self) -> bool:
        """Whether the schedule is automatic, and so waits for `report`."""
        return isinstance(self._method.schedule, Automatic)

    @property
    def was_judged(self) -> bool:
        """Whether an automatic schedule has had enough reports for at least one judgement."""
        return self._position.track.best is not None

    def when(self, progress: float, action: Callable[[], None]) -> None:
        """Call `action` once, after the update with which the run reaches `progress`.

        It is not part of the saved state.

        Args:
            progress: In [0, 1].
            action: Takes no arguments.
        """
        require_fraction("progress", progress)
        self._milestones.append((progress, action))

    def advance(self, progress: float) -> None:
        """Count one gradient update, and change the masks if it is time to.

        Args:
            progress: Share of the run that is over with this update, in [0, 1].
        """
        require_fraction("progress", progress)
        self._position.updates += 1
        self._look(progress)

    def take_over(self, masks: Mapping[str, Tensor]) -> None:
        """Go on from these masks, such as those of `found_masks`.

        Args:
            masks: `[out, in]` bool, True = kept, by the name of the weight. Layers that are not
                named keep the masks they have.

        Raises:
            ValueError: A name, type or shape is not that of a pruned layer, or nothing is kept.
        """
        self._masks.replace(saving.checked_masks(masks, self._masks.layers))
        self._observed = {role: Averages(method) for role, method in self._method.roles.items()}
        self.apply()

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
        held = held_layers(optimizer, self._attached, self._masks.layers)
        if not held and progress is None:
            raise ValueError(
                "optimizer: expected one that holds a pruned weight, got one with other parameters"
            )
        if total_updates is not None:
            require_count("total_updates", total_updates)
            if progress is not None:
                raise ValueError("progress: expected None beside total_updates, got both")
            self._total_updates += total_updates
            progress = lambda: min(1.0, self.updates / self._total_updates)  # noqa: E731
        attachment = Attachment(optimizer, held, progress, self._method.grow is not None)
        attachment.handles.append(
            optimizer.register_step_pre_hook(lambda *_: self._observe(attachment.layers))
        )
        attachment.handles.append(
            optimizer.register_step_post_hook(lambda *_: self._after_step(attachment))
        )
        if self._method.mask_gradients:
            attachment.mask_gradients(self._masks.factors)
        self._attached.append(attachment)
        self.apply()
        if progress is not None and self.updates == 0 and not self.frozen:
            self._start()

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
        """Masks, counters and position: plain values and CPU tensors, without the weights.

        `torch.save` and `torch.load(weights_only=True)` take it.
        """
        return saving.to_state(self._saved())

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
        saved = saving.from_state(state, self._saved(), self._masks.layers)
        self._position, self._observed = saved.position, dict(saved.observed)
        self._masks.replace(saved.masks)
        self.apply()

    def _saved(self) -> saving.Saved:
        return saving.Saved(self._masks, self._position, self._observed)

    def _start(self) -> None:
        """Prune before the first update, if the schedule says so and it was not done."""
        if self._pace.requested(self._position, 0.0) > self._position.reached:
            self.step(0.0)

    def _observe(self, layers: tuple[Layer, ...]) -> None:
        for averages in self._observed.values():
            averages.update(layers)

    def _scaled(self, part: Part, requested: float) -> float:
        # A part with another final sparsity follows the same ramp, scaled. The division makes its
        # end exact.
        final = self._pace.final
        return requested if part.final == final else requested / final * part.final

    def _changed(self, part: Part, sparsity: float, share: float) -> dict[str, Tensor]:
        method, observed, changes = self._method, self._observed, self._position.changes
        first = not self._position.reached
        if method.grow is not None and not first:
            return exchange_part(
                part, self._masks, sparsity, method, observed, share=share, change=changes
            )
        if part.budget(sparsity) >= self._masks.kept(part.layers):
            return {}
        return prune_part(part, self._masks, sparsity, method, observed, first=first)

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
        before, checked = position.progress, position.checked
        self._pace.move(position, progress)
        position.checked = position.updates
        if self._pace.is_due(position, before, checked):
            self.step(progress)
        self._pass_milestones(progress)

    def _pass_milestones(self, progress: float) -> None:
        passed = [action for at, action in self._milestones if at <= progress]
        self._milestones = [(at, action) for at, action in self._milestones if at > progress]
        for action in passed:
            action()
