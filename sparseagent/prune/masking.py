"""Writing zeros where a mask says so: in weights, and in what an optimizer remembers of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sparseagent.prune.layer import Layer

# What optimizers call their averages of squared or absolute gradients. They set the size of a step,
# and never move a weight by themselves.
_SCALES = frozenset({"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "exp_inf"})


@dataclass(frozen=True, eq=False)
class Attachment:
    """An optimizer whose steps are followed by zeroing.

    Attributes:
        optimizer: The optimizer.
        layers: The pruned layers that it updates.
        clock: Returns the progress after a step of this optimizer; `None` where its steps do not
            count.
        regrows: Whether pruned weights may come back. Then the averages of squared gradients run
            on: a grown weight that met a squared average of zero would take a first step of 3.2
            times the learning rate with Adam.
        handles: The hooks, to be removed.
        hooked: Weights whose gradients are zeroed.
    """

    optimizer: Optimizer
    layers: tuple[Layer, ...]
    clock: Callable[[], float] | None
    regrows: bool = False
    handles: list[RemovableHandle] = field(default_factory=list)
    hooked: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def zero(self, factors: Mapping[str, Tensor]) -> None:
        """Zero the pruned weights of this optimizer, and what it remembers about them.

        Everything shaped like a weight is a moment or an average of it (`exp_avg`, `exp_avg_sq`,
        `momentum_buffer`, `square_avg`, ...), so no list of optimizers is needed.

        Args:
            factors: `[out, in]` numbers, 0 = pruned and 1 = kept, by the name of the weight.
                Multiplying, after every update, is several times cheaper than filling; it may
                leave -0.0 until `MaskSet.zero_weights` fills.
        """
        for layer in self.layers:
            factor = factors.get(layer.name)
            if factor is None:
                continue
            weight = layer.weight
            weight.mul_(factor.to(weight.device))
            # `get`, because indexing would create a state, which some optimizers take for theirs.
            for name, value in self.optimizer.state.get(weight, {}).items():
                if is_moment(value, weight) and not (self.regrows and name in _SCALES):
                    value.mul_(factor.to(value.device))

    def hook(self, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Call these before and after each step of the optimizer."""
        self.handles.append(self.optimizer.register_step_pre_hook(lambda *_: before()))
        self.handles.append(self.optimizer.register_step_post_hook(lambda *_: after()))

    def mask_gradients(self, factors: Mapping[str, Tensor]) -> None:
        """Zero the gradients of pruned weights after each backward pass, before a loop clips them.

        Parameters that were hooked already are left as they are; a layer that was cut has new ones.

        Args:
            factors: As for `zero`; read anew at each pass.
        """
        for layer in self.layers:
            if any(layer.weight is weight for weight in self.hooked):
                continue
            self.hooked.append(layer.weight)

            def mask(weight: Tensor, name: str = layer.name) -> None:
                if name in factors and weight.grad is not None:
                    weight.grad.mul_(factors[name].to(weight.device))

            hook = layer.weight.register_post_accumulate_grad_hook(mask)  # type: ignore[no-untyped-call]
            self.handles.append(hook)

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()


class Attachments:
    """The attached optimizers, in the order in which they step.

    Attributes:
        total_updates: Steps that those counted by steps make in the whole run, together.
    """

    def __init__(self) -> None:
        self.total_updates = 0
        self._all: list[Attachment] = []

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """The optimizers."""
        return tuple(one.optimizer for one in self._all)

    def held(self, optimizer: Optimizer, layers: Iterable[Layer]) -> tuple[Layer, ...]:
        """Which of these layers an optimizer updates that is not attached yet.

        Raises:
            TypeError: It is no optimizer.
            ValueError: It is attached.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer: expected a torch.optim.Optimizer, got {type(optimizer).__name__}"
            )
        if any(other is optimizer for other in self.optimizers):
            raise ValueError("optimizer: expected one that is not attached yet, got it again")
        return tuple(layer for layer in layers if holds(optimizer, layer.weight))

    def add(self, attachment: Attachment) -> None:
        """Take one more, which steps after the others."""
        self._all.append(attachment)

    def zero(self, factors: Mapping[str, Tensor]) -> None:
        """Zero the pruned weights of all; see `Attachment.zero`."""
        for attachment in self._all:
            attachment.zero(factors)

    def mask_gradients(self, factors: Mapping[str, Tensor]) -> None:
        """Zero the gradients of pruned weights of all; see `Attachment.mask_gradients`."""
        for attachment in self._all:
            attachment.mask_gradients(factors)

    def ends_update(self, attachment: Attachment) -> bool:
        """Whether it is the last whose steps count."""
        return attachment is [one for one in self._all if one.clock is not None][-1]

    def clear(self) -> None:
        """Remove all hooks, and forget the optimizers."""
        for attachment in self._all:
            attachment.remove()
        self._all.clear()
        self.total_updates = 0


def holds(optimizer: Optimizer, weight: Tensor) -> bool:
    """Whether the optimizer updates this weight."""
    return any(weight is p for group in optimizer.param_groups for p in group["params"])


def is_moment(value: object, weight: Tensor) -> bool:
    """Whether a value in an optimizer's state is a moment of this weight: shaped like it."""
    return isinstance(value, Tensor) and value.shape == weight.shape and value.is_floating_point()
