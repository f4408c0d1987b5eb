"""The course of a run: the masks, where it stands, and the next change of the masks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from sparseagent.prune import saving
from sparseagent.prune.choice import exchange_part, prune_part
from sparseagent.prune.layer import Layer
from sparseagent.prune.layout import Layout, Part
from sparseagent.prune.mask_set import MaskSet
from sparseagent.prune.method import Method
from sparseagent.prune.observation import Averages
from sparseagent.prune.pace import Pace
from sparseagent.prune.track import listens


class Course:
    """All that changes while a `Sparsifier` prunes, apart from the weights.

    Args:
        layout: What is pruned.
        method: How to choose.
        pace: When.

    Attributes:
        parts: Layers that share a budget.
        masks: The present masks.
        position: Where the run stands.
    """

    def __init__(self, layout: Layout, method: Method, pace: Pace) -> None:
        self.parts = layout.parts
        self.masks = MaskSet(layout)
        self.position = saving.Position()
        self._method = method
        self._pace = pace
        self._observed = self._unobserved()

    @property
    def finished(self) -> bool:
        """Whether every part has its final sparsity, or an automatic schedule is past its stop."""
        schedule = self._method.schedule
        if listens(schedule) and not schedule.always_arrives:
            return self.position.progress >= schedule.stop
        return all(self.masks.kept(part.layers) <= part.budget(part.final) for part in self.parts)

    @property
    def starts_pruned(self) -> bool:
        """Whether the schedule asks for pruning before the first update, and it was not done."""
        position = self.position
        fresh = not position.updates and not position.frozen
        return fresh and self._pace.requested(position, 0.0) > position.reached

    def observe(self, layers: Iterable[Layer]) -> None:
        """Let scores and growth see the present gradients of these layers, while these matter."""
        schedule = self._method.schedule
        automatic = listens(schedule) and not schedule.always_arrives
        # Frozen masks go on observing: the next round of a lottery chooses by it.
        if self._method.grow is None and not automatic and self.finished:
            return
        for averages in self._observed.values():
            averages.update(layers)

    def hear(self, signal: float) -> None:
        """Take in a report for a schedule that listens; see `Sparsifier.report`."""
        schedule = self._method.schedule
        if not listens(schedule):
            raise ValueError(
                "report: expected a schedule that goes by reports, Automatic or Warmup, got "
                f"{type(schedule).__name__}"
            )
        if not math.isfinite(signal):
            raise ValueError(f"signal: expected a finite number, got {signal}")
        self.position.track = schedule.hear(self.position.track, float(signal))

    def move(self, progress: float) -> bool:
        """Go on to a progress in [0, 1]; whether it is time to change the masks."""
        position = self.position
        before, checked = position.progress, position.checked
        self._pace.move(position, progress)
        position.checked = position.updates
        return self._pace.is_due(position, before, checked)

    def change(self, progress: float) -> bool:
        """Change the masks as the schedule and `drop` say at a progress in [0, 1]; whether they do.

        Raises:
            RuntimeError: The masks are frozen.
            ValueError: Score, growth, pattern or allocation broke its contract. No mask has
                changed then.
        """
        position = self.position
        if position.frozen:
            raise RuntimeError("step: the masks are frozen; make a new Sparsifier to prune further")
        self._pace.move(position, progress)
        requested = self._pace.requested(position, progress)
        share = self._pace.share(position, progress)
        if requested <= position.reached and not share:
            return False
        before, changed = dict(self.masks), {}
        for part in self.parts:
            sparsity = part.sparsity_at(requested, self._pace.final)
            changed.update(self._changed(part, sparsity, share))
        # Only now, so that a part that cannot be pruned leaves the others as they were.
        self.masks.replace(changed)
        if self._method.rescale_initial and not position.updates:
            self.masks.rescale(before)
        position.changes += self._method.grow is not None and position.reached > 0.0
        position.reached = max(requested, position.reached)
        return True

    def _changed(self, part: Part, sparsity: float, share: float) -> dict[str, Tensor]:
        masks, method, observed = self.masks, self._method, self._observed
        sparsity = max(sparsity, self.position.taken.get(part.name, 0.0))
        first = not self.position.reached
        if method.grow is not None and not first:
            change = self.position.changes
            return exchange_part(
                part, masks, sparsity, method, observed, share=share, change=change
            )
        if part.budget(sparsity) >= masks.kept(part.layers):
            return {}
        return prune_part(part, masks, sparsity, method, observed, first=first)

    def take_over(self, masks: Mapping[str, Tensor]) -> None:
        """Go on from other masks, with nothing observed; see `Sparsifier.take_over`."""
        self.masks.replace(saving.checked_masks(masks, self.masks.layers))
        self.position.taken = {part.name: self.masks.sparsity(part.layers) for part in self.parts}
        self._observed = self._unobserved()

    def state_dict(self) -> dict[str, Any]:
        """See `Sparsifier.state_dict`."""
        return saving.to_state(self._saved())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Sparsifier.load_state_dict`."""
        saved = saving.from_state(state, self._saved(), self.masks.layers)
        self.position, self._observed = saved.position, dict(saved.observed)
        self.masks.replace(saved.masks)

    def _saved(self) -> saving.Saved:
        return saving.Saved(self.masks, self.position, self._observed)

    def _unobserved(self) -> dict[str, Averages]:
        return {role: Averages(method) for role, method in self._method.roles.items()}
