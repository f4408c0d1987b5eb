"""How a sparsifier chooses: the composition of its stateless parts, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from sparseagent.prune.allocation import Allocation
from sparseagent.prune.checks import require_callable, require_fraction, require_method
from sparseagent.prune.drop import Drop
from sparseagent.prune.growable import is_growable
from sparseagent.prune.growth.protocol import Growth
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.schedule import Schedule, final_sparsity
from sparseagent.prune.score.protocol import Score


@dataclass(frozen=True, eq=False)
class Method:
    """Score, pattern, allocation, schedule, and regrowth; see `Sparsifier` for each.

    Raises:
        TypeError: A part is of the wrong kind.
        ValueError: Parts do not fit each other; the message says why.
    """

    score: Score
    schedule: Schedule
    pattern: Pattern
    allocate: Allocation
    initial: Score | None
    grow: Growth | None
    drop: Drop | None
    output_floor: float
    rescale_initial: bool
    mask_gradients: bool

    def __post_init__(self) -> None:
        require_method("score", self.score, "score")
        require_method("pattern", self.pattern, "mask")
        require_callable("schedule", self.schedule, "(progress) -> sparsity, such as Cubic(to=0.9)")
        require_callable("allocate", self.allocate, "(scores, density) -> counts, such as erk")
        require_fraction("output_floor", self.output_floor)
        if self.initial is not None:
            require_method("initial", self.initial, "score")
        self._check_growth()
        if self.mask_gradients and self.grow is not None:
            raise ValueError(
                "mask_gradients: expected False with grow, which needs the gradients of pruned "
                "weights: to choose among them, and for the squared averages that a grown weight "
                "starts with, got True"
            )
        # A look at the whole way: without growth, what is pruned cannot come back.
        final = final_sparsity(self.schedule)
        if self.rescale_initial and not (final and self.schedule(0.0)):
            raise ValueError(
                "rescale_initial: expected a schedule that prunes before training starts, such as "
                f"OneShot(to=0.9), got True with {self.schedule}"
            )

    @property
    def roles(self) -> dict[str, object]:
        """Those that may observe gradients, by the name of their argument."""
        return {"score": self.score, "initial": self.initial, "grow": self.grow}

    def share(self, progress: float) -> float:
        """What is exchanged by growth at `progress`, in [0, 1).

        Raises:
            ValueError: `drop` answers with something else.
        """
        if self.drop is None:
            return 0.0
        share = self.drop(progress)
        if not 0.0 <= share < 1.0:
            raise ValueError(f"drop({progress}): expected a share in [0, 1), got {share}")
        return share

    def _check_growth(self) -> None:
        if self.grow is None:
            if self.drop is not None:
                raise ValueError(
                    "drop: expected None without grow, as dropped weights would not be replaced; "
                    "a schedule alone prunes"
                )
            return
        require_method("grow", self.grow, "growth")
        if self.drop is None:
            raise ValueError(
                "drop: expected a share to exchange beside grow, got None; CosineDrop()"
            )
        require_callable("drop", self.drop, "(progress) -> share, such as CosineDrop(0.3)")
        if not is_growable(self.pattern):
            raise ValueError(
                "grow: expected None with a pattern that cannot take weights back (it has no "
                f"method `pool`), got {type(self.grow).__name__} with "
                f"{type(self.pattern).__name__}; use Unstructured(), Block, NM or LaneBalanced, or "
                "a schedule without growth"
            )
