"""What a study's file may hold: which keys, and which fields of `RunConfig`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sparseagent.train.config import RunConfig

#: What the study itself decides.
_OWN = {"env", "algo", "sparsity", "seeds", "eval_episodes", "out"}


def check_settings(key: str, given: Any) -> None:
    """Check the names of settings; their values are checked where a `RunConfig` is made.

    Raises:
        ValueError: an unknown name, or one that the study decides.
        TypeError: `given` is no mapping.
    """
    if not isinstance(given, dict):
        raise TypeError(f"{key}: expected keys and values, got {given!r}")
    known = sorted({f.name for f in fields(RunConfig)} - _OWN)
    if unknown := [name for name in given if name not in known]:
        raise ValueError(
            f"{key}: expected names among {', '.join(known)}; got {', '.join(map(str, unknown))}"
        )
    if not isinstance(given.get("hyperparameters", {}), dict):
        raise TypeError(
            f"{key}.hyperparameters: expected keys and values, got {given['hyperparameters']!r}"
        )


def check_mapping(key: str, given: Any, known: Sequence[str], required: Sequence[str]) -> None:
    """Refuse what is no mapping, holds another key than these, or lacks a required one.

    Raises:
        ValueError: a key is unknown or missing.
        TypeError: `given` is no mapping.
    """
    if not isinstance(given, dict):
        raise TypeError(f"{key}: expected keys and values, got {given!r}")
    if unknown := [name for name in given if name not in known]:
        raise ValueError(
            f"{key}: expected keys among {', '.join(known)}; got {', '.join(map(str, unknown))}"
        )
    if missing := [name for name in required if name not in given]:
        raise ValueError(f"{key}: expected the key {missing[0]!r}, which is missing")
