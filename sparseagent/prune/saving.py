"""The saved state of a sparsifier: how it is written, and checked before it is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from sparseagent.prune.checks import require_fraction, require_sparsity
from sparseagent.prune.layer import Layer
from sparseagent.prune.observation import Averages
from sparseagent.prune.track import Track

_VERSION = 2


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        updates: Optimizer steps counted so far.
        checked: How many there were when the masks were last looked at.
        progress: Progress at that time, in [0, 1].
        reached: Sparsity that the schedule asked for last, in [0, 1).
        changes: How many times weights were dropped and grown.
        taken: Sparsity of each part, by its name, when masks were taken over: growth does not go
            back below it.
        frozen: Whether the masks are final.
        start_timestep: Environment step at which a callback began to count, `None` before.
        track: What an automatic schedule has judged.
    """

    updates: int = 0
    checked: int = 0
    progress: float = 0.0
    reached: float = 0.0
    changes: int = 0
    taken: dict[str, float] = field(default_factory=dict)
    frozen: bool = False
    start_timestep: int | None = None
    track: Track = field(default_factory=Track)


@dataclass(frozen=True, eq=False)
class Saved:
    """All that a sparsifier saves.

    Attributes:
        masks: `[out, in]` bool, by the name of the weight.
        position: Where the run stands.
        observed: Running averages, by the argument that they are for.
    """

    masks: Mapping[str, Tensor]
    position: Position
    observed: Mapping[str, Averages]


def to_state(saved: Saved) -> dict[str, Any]:
    """Plain values and CPU tensors, safe for `weights_only` loading."""
    return {
        "version": _VERSION,
        "masks": {name: mask.detach().to("cpu", copy=True) for name, mask in saved.masks.items()},
        "observed": {role: averages.to_state() for role, averages in saved.observed.items()},
        **asdict(saved.position),
    }


def from_state(state: Mapping[str, Any], present: Saved, layers: Sequence[Layer]) -> Saved:
    """Check a state against the sparsifier that is to take it.

    Args:
        state: What `to_state` made.
        present: What the sparsifier holds now.
        layers: The layers that it prunes.

    Returns:
        What was saved, with the masks in the order of those in `present`.

    Raises:
        TypeError: `state` is not a mapping.
        ValueError: It is no such state, or of another version, or its names or shapes differ.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state: expected a mapping, got {type(state).__name__}")
    version = state.get("version")
    if version != _VERSION:
        raise ValueError(f"state: expected version {_VERSION}, got {version!r}")
    state = {"taken": {}, **state}  # older states have none
    keys = {"version", "masks", "observed", *(field.name for field in fields(Position))}
    if set(state) != keys:
        raise ValueError(f"state: expected the keys {sorted(keys)}, got {sorted(map(str, state))}")
    masks = state["masks"]
    if not isinstance(masks, Mapping) or set(masks) != set(present.masks):
        got = sorted(map(str, masks)) if isinstance(masks, Mapping) else type(masks).__name__
        raise ValueError(f"state: expected masks for {sorted(present.masks)}, got {got}")
    for name, mask in present.masks.items():
        _check_mask("state", name, masks[name], mask)
    observed = state["observed"]
    if not isinstance(observed, Mapping) or set(observed) != set(present.observed):
        raise ValueError(f"state: expected observations {sorted(present.observed)}, got {observed}")
    position = Position(**{f.name: state[f.name] for f in fields(Position) if f.name != "track"})
    position.track = _track(state["track"])
    _check_position(position)
    return Saved(
        {name: masks[name].clone() for name in present.masks},
        position,
        {role: old.from_state(observed[role], layers) for role, old in present.observed.items()},
    )


def _track(saved: object) -> Track:
    names = {field.name for field in fields(Track)}
    newer = {"first", "latest", "risen"}  # older states have none
    if not isinstance(saved, Mapping) or not names - newer <= set(saved) <= names:
        raise ValueError(f"state: expected {sorted(names)} for 'track', got {saved!r}")
    track = Track(**saved)
    if not all(isinstance(given, tuple) for given in (track.first, track.latest)):
        raise ValueError(f"state: expected tuples of numbers for 'first' and 'latest', got {saved}")
    try:
        require_fraction("earned", track.earned)
        require_fraction("allowed", track.allowed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"state: {error}") from error
    return track


def checked_masks(masks: object, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Copies of masks for some of these layers, `[out, in]` bool, by the name of the weight.

    Raises:
        TypeError: They are no mapping.
        ValueError: A name, type or shape is not that of a layer, or a mask keeps nothing.
    """
    if not isinstance(masks, Mapping):
        raise TypeError(f"masks: expected a mapping of masks, got {type(masks).__name__}")
    weights = {layer.name: layer.weight for layer in layers}
    for name, mask in masks.items():
        if name not in weights:
            raise ValueError(f"masks: expected names among {sorted(weights)}, got {name!r}")
        _check_mask("masks", name, mask, weights[name])
    return {name: mask.clone() for name, mask in masks.items()}


def _check_mask(argument: str, name: str, saved: object, present: Tensor) -> None:
    if not isinstance(saved, Tensor) or saved.dtype != torch.bool:
        got = str(saved.dtype) if isinstance(saved, Tensor) else type(saved).__name__
        raise ValueError(f"{argument}: expected a bool mask for {name!r}, got {got}")
    if saved.shape != present.shape:
        raise ValueError(
            f"{argument}: expected a mask of {list(present.shape)} for {name!r}, got "
            f"{list(saved.shape)}"
        )
    if not bool(saved.any()):
        raise ValueError(f"{argument}: expected at least one kept weight in {name!r}, got none")


def _check_position(position: Position) -> None:
    for name in ("updates", "checked", "changes", "start_timestep"):
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
        for name, sparsity in dict(position.taken).items():
            require_sparsity(f"taken[{name!r}]", sparsity)
    except (TypeError, ValueError) as error:
        raise ValueError(f"state: {error}") from error
