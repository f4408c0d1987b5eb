"""The saved state of a sparsifier: how it is written, and checked before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from sparseagent.prune.checks import require_fraction, require_sparsity

_VERSION = 1


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        updates: Optimizer steps counted so far.
        checked: How many there were when the masks were last looked at.
        progress: Progress at that time, in [0, 1].
        reached: Sparsity that the schedule asked for last, in [0, 1).
        frozen: Whether the masks are final.
        start_timestep: Environment step at which a callback began to count, `None` before.
    """

    updates: int = 0
    checked: int = 0
    progress: float = 0.0
    reached: float = 0.0
    frozen: bool = False
    start_timestep: int | None = None


def to_state(masks: Mapping[str, Tensor], position: Position) -> dict[str, Any]:
    """Masks and position as plain values and CPU tensors, safe for `weights_only` loading."""
    saved = {name: mask.detach().to("cpu", copy=True) for name, mask in masks.items()}
    return {"version": _VERSION, "masks": saved, **asdict(position)}


def from_state(
    state: Mapping[str, Any], present: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Position]:
    """Check a state against the masks of the module that is to take it.

    Args:
        state: What `to_state` made.
        present: Masks of the module, `[out, in]` bool, by the name of the weight.

    Returns:
        The saved masks, in the order of `present`, and the position.

    Raises:
        TypeError: `state` is not a mapping.
        ValueError: It is no such state, or of a newer version, or its names or shapes differ.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state: expected a mapping, got {type(state).__name__}")
    keys = {"version", "masks", *(field.name for field in fields(Position))}
    if set(state) != keys:
        raise ValueError(f"state: expected the keys {sorted(keys)}, got {sorted(map(str, state))}")
    if state["version"] != _VERSION:
        raise ValueError(f"state: expected version {_VERSION}, got {state['version']!r}")
    masks = state["masks"]
    if not isinstance(masks, Mapping) or set(masks) != set(present):
        got = sorted(map(str, masks)) if isinstance(masks, Mapping) else type(masks).__name__
        raise ValueError(f"state: expected masks for {sorted(present)}, got {got}")
    for name, mask in present.items():
        _check_mask(name, masks[name], mask)
    position = Position(**{field.name: state[field.name] for field in fields(Position)})
    _check_position(position)
    return {name: masks[name].clone() for name in present}, position


def _check_mask(name: str, saved: object, present: Tensor) -> None:
    if not isinstance(saved, Tensor) or saved.dtype != torch.bool:
        got = str(saved.dtype) if isinstance(saved, Tensor) else type(saved).__name__
        raise ValueError(f"state: expected a bool mask for {name!r}, got {got}")
    if saved.shape != present.shape:
        raise ValueError(
            f"state: expected a mask of {list(present.shape)} for {name!r}, got {list(saved.shape)}"
        )
    if not bool(saved.any()):
        raise ValueError(f"state: expected at least one kept weight in {name!r}, got none")


def _check_position(position: Position) -> None:
    for name in ("updates", "checked", "start_timestep"):
        count = getattr(position, name)
        if count is None and name == "start_timestep":
            continue
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"state: expected a count for {name!r}, got {count!r}")
    if not isinstance(position.frozen, bool):
        raise ValueError(f"state: expected a bool for 'frozen', got {position.frozen!r}")
    try:
        require_fraction("progress", position.progress)
        require_sparsity("reached", position.reached)
    except (TypeError, ValueError) as error:
        raise ValueError(f"state: {error}") from error
