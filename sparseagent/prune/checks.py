"""Checks of arguments that several parts of the package take."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor


def require_sparsity(name: str, value: object) -> None:
    """Raise unless `value` is a number in [0, 1)."""
    if not 0.0 <= _number(name, value) < 1.0:
        raise ValueError(f"{name}: expected a sparsity in [0, 1), got {value}")


def require_fraction(name: str, value: object) -> None:
    """Raise unless `value` is a number in [0, 1]."""
    if not 0.0 <= _number(name, value) <= 1.0:
        raise ValueError(f"{name}: expected a fraction in [0, 1], got {value}")


def require_ramp(start: object, stop: object) -> None:
    """Raise unless 0 <= start < stop <= 1."""
    require_fraction("start", start)
    require_fraction("stop", stop)
    if not _number("start", start) < _number("stop", stop):
        raise ValueError(f"stop: expected more than start = {start}, got {stop}")


def require_strength(value: object) -> None:
    """Raise unless `value` is a finite number of at least 0."""
    if not 0.0 <= _number("strength", value) < float("inf"):
        raise ValueError(f"strength: expected 0 or more, got {value}")


def require_positive(name: str, value: object) -> None:
    """Raise unless `value` is a finite number above 0."""
    if not 0.0 < _number(name, value) < float("inf"):
        raise ValueError(f"{name}: expected more than 0, got {value}")


def require_count(name: str, value: object) -> None:
    """Raise unless `value` is an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")


def require_method(name: str, value: object, method: str) -> None:
    """Raise unless `value` is an object with this method; a class is not enough."""
    if isinstance(value, type) or not callable(getattr(value, method, None)):
        raise TypeError(f"{name}: expected an object with a method {method!r}, got {_kind(value)}")


def require_callable(name: str, value: object, form: str) -> None:
    """Raise unless `value` can be called as `form` says; a class is not enough."""
    if isinstance(value, type) or not callable(value):
        raise TypeError(f"{name}: expected a callable {form}, got {_kind(value)}")


def require_scores(scores: Tensor, kept: int) -> None:
    """Raise unless a pattern can keep `kept` weights of `scores` `[out, in]`, `-inf` = pruned."""
    if bool(torch.isnan(scores).any()):
        raise ValueError("scores: expected numbers, got NaN")
    available = int((scores > -torch.inf).sum())
    if not 1 <= kept <= available:
        raise ValueError(f"kept: expected 1 to {available} weights, got {kept}")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    return float(value)


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__} (call it to make an object)"
    return type(value).__name__
