"""Hyperparameters that fall during a training, as strings: `"lin_0.001"`, `"hold_0.001"`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.utils import LinearSchedule


@dataclass(frozen=True)
class Hold:
    """A value that stays until a point of the training, then falls linearly to 0 at its end.

    A schedule of Stable-Baselines3: called with the share of the training that is left. With the
    point where pruning stops, a network learns at the full rate while it is pruned, and what is
    left of it has the whole fall. It is learning rate rewinding (Renda et al., "Comparing Rewinding
    and Fine-tuning in Neural Network Pruning", 2020) without the fall before.

    Attributes:
        value: at first.
        until: progress in [0, 1] up to which it stays.
    """

    value: float
    until: float

    def __call__(self, left: float) -> float:
        """The value when the share `left`, in [0, 1], of the training is left."""
        if 1.0 - left <= self.until:
            return self.value
        return self.value * left / (1.0 - self.until)


_KINDS: dict[str, Callable[[float, float], Callable[[float], float]]] = {
    "lin_": lambda value, _: LinearSchedule(value, 0.0, 1.0),
    "hold_": Hold,
}
#: How such strings look, for messages.
FALLING = " | ".join(f"'{prefix}<number>'" for prefix in _KINDS)


def is_falling(value: Any) -> bool:
    """Whether a hyperparameter is such a string, well-formed or not."""
    return isinstance(value, str) and value.startswith(tuple(_KINDS))


def parse_falling(key: str, text: str, until: float) -> Callable[[float], float]:
    """The schedule that a string stands for.

    Args:
        key: the hyperparameter's name, for errors.
        text: `"lin_<number>"` falls from the start on, `"hold_<number>"` from `until` on.
        until: progress in [0, 1].

    Raises:
        ValueError: it does not end in a number.
    """
    prefix = next(name for name in _KINDS if text.startswith(name))
    try:
        value = float(text.removeprefix(prefix))
    except ValueError:
        raise ValueError(f"{key}: expected '{prefix}<number>', got {text!r}") from None
    return _KINDS[prefix](value, until)
