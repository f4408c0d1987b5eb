"""The sparsifier: score, pattern, schedule and allocation put to work on one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sparseagent.agents import adapt
from sparseagent.agents.pruned import note_pruner
from sparseagent.prune.allocation import Allocation, erk
from sparseagent.prune.checks import require_count, require_fraction
from sparseagent.prune.course import Course
from sparseagent.prune.drop import Drop
from sparseagent.prune.growth.protocol import Growth
from sparseagent.prune.inputs import asks_for_inputs
from sparseagent.prune.joint import is_joint
from sparseagent.prune.layer import Layer, Pick, Selection
from sparseagent.prune.layout import CriticSparsity, Targets, find_layout
from sparseagent.prune.legality import require_legal
from sparseagent.prune.masking import Attachment, Attachments
from sparseagent.prune.method import Method
from sparseagent.prune.pace import Pace
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.pattern.unstructured import Unstructured
from sparseagent.prune.reach import acting_weights, check_agent, zeros_of
from sparseagent.prune.schedule import Schedule
from sparseagent.prune.score.protocol import Score
from sparseagent.prune.summary import summary_table
from sparseagent.prune.track import listens
from sparseagent.prune.warmup import Warmup

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
            allocation says; the other layers of the part make up for it. Output layers of a plain
            module are those that no other layer depends on, see `chains.find_chains`; where its
            `forward` cannot be traced or does not call each layer, the last one registered.
        rescale_initial: Where weights are pruned before training starts, scale what remains of
            each neuron's weights by 1 / sqrt(density of its fan-in), so that its input keeps its
            variance (Evci et al., "Gradient Flow in Sparse Neural Networks", 2022).
        mask_gradients: Zero the gradients of pruned weights after each backward pass, so that they
            take no part in a gradient norm that the loop clips. Not with `grow`.
        layers: Which layers, instead of the default: names of layers or of modules around them; or
            `predicate(name, linear) -> bool`, `Top(n)` or `Hidden()`, which narrow the default. The
            latter two go by the order of a plain module's `forward`, found as for `output_floor`.
        targets: Target networks of a plain module, which get its masks: copies of the module, or of
            some of its submodules under the same names. Those of a policy are found.
        critic_sparsity: Final sparsity of the critics of a policy, in [0, 1); `None` for dense
            critics; `"auto"` for the default above.
        critic_layers: Which layers of the critics are pruned, such as `First(1)`, those that read
            the observation; `critic_sparsity` is theirs then. `None` for all that `layers` leaves.
        every: Gradient updates between two changes of the masks; `None` for about 1,000 changes
            in a run, 100 with `grow`. The change that reaches the final sparsity is never late.

    Attributes:
        module: The network.

    Warns with a `PruningWarning` of an agent that cannot be compiled, in the words of `from_sb3`,
    and of weights of its acting network that stay dense because pruning does not reach them.

    Raises:
        TypeError: An argument is of the wrong type, or the agent has a memory or sees images.
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
        critic_layers: Pick | None = None,
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
        layout = find_layout(
            module,
            final=schedule(1.0),
            layers=layers,
            targets=targets,
            critic_sparsity=critic_sparsity,
            critic_layers=critic_layers,
            floored=output_floor > 0.0,
            joint=is_joint(pattern),
            inputs=any(asks_for_inputs(method) for method in (score, initial, grow)),
        )
        require_legal(layout, self._method, allocate)
        self._course = Course(layout, self._method, Pace(self._method, every, schedule(1.0)))
        self._attached = Attachments()
        self._milestones: list[tuple[float, Callable[[], None]]] = []
        if (agent := adapt(module)) is not None:
            check_agent(agent, self._course.masks if layers is None else None)
        note_pruner(module, self)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {self.sparsity(name):.4f}" for name in self.parts)
        return f"<Sparsifier of {type(self.module).__name__}: {parts}>"

    @property
    def masks(self) -> dict[str, Tensor]:
        """Copies of the masks, `[out, in]` bool, True = kept, by the name of the weight."""
        return {name: mask.clone() for name, mask in self._course.masks.items()}

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Names of the pruned weights of each part, such as `"actor"`, in the module's order."""
        return {
            part.name: tuple(layer.name for layer in part.layers) for part in self._course.parts
        }

    @property
    def final_sparsity(self) -> dict[str, float]:
        """Sparsity of each part at the end of the schedule."""
        return {part.name: part.final for part in self._course.parts}

    @property
    def finished(self) -> bool:
        """Whether every part has reached its final sparsity.

        With the schedule `Automatic`, whether progress is past its stop.
        """
        return self._course.finished

    @property
    def frozen(self) -> bool:
        """Whether `freeze` was called."""
        return self._course.position.frozen

    @property
    def started(self) -> bool:
        """Whether the masks have been looked at since they were made."""
        position = self._course.position
        return bool(position.updates or position.reached or position.taken or position.frozen)

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Those that are attached."""
        return self._attached.optimizers

    @property
    def updates(self) -> int:
        """Optimizer steps counted so far."""
        return self._course.position.updates

    @property
    def progress(self) -> float:
        """Share of the run that was over when the masks were last looked at, in [0, 1]."""
        return self._course.position.progress

    @property
    def start_timestep(self) -> int | None:
        """Environment step from which `callback` counts, `None` before; part of the saved state."""
        return self._course.position.start_timestep

    @start_timestep.setter
    def start_timestep(self, timestep: int) -> None:
        self._course.position.start_timestep = timestep

    def sparsity(self, name: str | None = None) -> float:
        """Fraction of zeros that the masks hold now, in [0, 1).

        Args:
            name: A part or a weight; `None` for the whole network that runs when an agent acts,
                what pruning does not reach included; of a plain module, for all pruned layers.

        Raises:
            ValueError: No part and no weight has this name.
        """
        masks = self._course.masks
        named: dict[str, tuple[Layer, ...]] = {i.name: (i,) for i in masks.layers}
        named.update({part.name: part.layers for part in self._course.parts})
        if name is None:
            acting = self._acting()
            return masks.sparsity(masks.layers) if acting is None else 1.0 - acting[0] / acting[1]
        if name not in named:
            raise ValueError(
                f"name: expected one of {[*self.parts, *self._course.masks]}, got {name!r}"
            )
        return masks.sparsity(named[name])

    def _acting(self) -> tuple[int, int] | None:
        """(kept, in all) of what runs when an agent acts; `None` for a plain module."""
        agent = adapt(self.module)
        if agent is None:
            return None
        kept = {layer.name: self._course.masks.kept([layer]) for layer in self._course.masks.layers}
        return zeros_of(acting_weights(agent), kept)

    def layer_sparsity(self) -> dict[str, float]:
        """Sparsity of each pruned layer, by the name of its weight."""
        return {
            layer.name: self._course.masks.sparsity([layer]) for layer in self._course.masks.layers
        }

    def summary(self) -> str:
        """A text table: weight, part, shape, kept weights and sparsity, with totals.

        Of an agent its last line is the network that runs when it acts, with what pruning does not
        reach.
        """
        return summary_table(self._course.parts, self._course.masks, self._acting())

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
        if self._course.change(progress):
            self.apply()

    def observe(self) -> None:
        """Let scores and growth see the present gradients of all pruned layers.

        The hooks do this before each step of an attached optimizer. Without them, call it between
        the backward pass and the step. Layers without a gradient are skipped.
        """
        self._course.observe(self._course.masks.layers)

    def report(self, signal: float) -> None:
        """Tell a schedule that listens how well the agent does; higher = better.

        Args:
            signal: Such as the return of an episode, or the negative loss of an update.

        Raises:
            ValueError: The schedule is neither `Automatic` nor `Warmup`, or `signal` is not finite.
        """
        self._course.hear(signal)

    @property
    def wants_reports(self) -> bool:
        """Whether the schedule goes by `report`, as `Automatic` and `Warmup` do."""
        return listens(self._method.schedule)

    @property
    def was_judged(self) -> bool:
        """Whether such a schedule has had enough reports for at least one judgement."""
        return self._course.position.track.best is not None

    @property
    def has_risen(self) -> bool | None:
        """Whether the schedule `Warmup` has seen the return rise; `None` for other schedules."""
        risen = self._course.position.track.risen
        return risen if isinstance(self._method.schedule, Warmup) else None

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
        self._course.position.updates += 1
        self._look(progress)

    def take_over(self, masks: Mapping[str, Tensor]) -> None:
        """Go on from these masks, such as those of `found_masks`.

        Args:
            masks: `[out, in]` bool, True = kept, by the name of the weight. Layers that are not
                named keep the masks they have.

        Raises:
            ValueError: A name, type or shape is not that of a pruned layer, or nothing is kept.
        """
        self._course.take_over(masks)
        # The layers may have been cut, see `shrink`.
        self._mask_gradients()
        self.apply()

    def freeze(self) -> None:
        """Keep the masks as they are from now on: fine-tuning goes on under them."""
        self._course.position.frozen = True

    def apply(self) -> None:
        """Zero the pruned weights, their twins in target networks, and their moments.

        The hooks do this by themselves. Call it after weights were loaded or copied from elsewhere.
        """
        self._course.masks.zero_weights()
        self._attached.zero(self._course.masks.factors)

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
        held = self._attached.held(optimizer, self._course.masks.layers)
        if not held and progress is None:
            raise ValueError(
                "optimizer: expected one that holds a pruned weight, got one with other parameters"
            )
        if total_updates is not None:
            require_count("total_updates", total_updates)
            if progress is not None:
                raise ValueError("progress: expected None beside total_updates, got both")
            self._attached.total_updates += total_updates
            progress = lambda: min(1.0, self.updates / self._attached.total_updates)  # noqa: E731
        attachment = Attachment(optimizer, held, progress, self._method.grow is not None)
        attachment.hook(
            before=lambda: self._course.observe(held), after=lambda: self._after_step(attachment)
        )
        self._attached.add(attachment)
        self._mask_gradients()
        self.apply()
        if progress is not None and self._course.starts_pruned:
            self.step(0.0)

    def detach(self) -> None:
        """Remove all hooks. The masks stay, but nothing keeps the weights at zero any more."""
        self._attached.clear()

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
        return self._course.state_dict()

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
        self._course.load_state_dict(state)
        self.apply()

    def _mask_gradients(self) -> None:
        if self._method.mask_gradients:
            self._attached.mask_gradients(self._course.masks.factors)

    def _after_step(self, attachment: Attachment) -> None:
        attachment.zero(self._course.masks.factors)
        if attachment.clock is None:
            return
        self._course.position.updates += 1
        progress = attachment.clock()
        if self._attached.ends_update(attachment) or progress >= 1.0:
            self._look(progress)

    def _look(self, progress: float) -> None:
        """Change the masks if it is time to."""
        if self._course.move(progress):
            self.step(progress)
        self._pass_milestones(progress)

    def _pass_milestones(self, progress: float) -> None:
        passed = [action for at, action in self._milestones if at <= progress]
        self._milestones = [(at, action) for at, action in self._milestones if at > progress]
        for action in passed:
            action()
