"""The action heads as C: what makes the deterministic action of the first output."""

from __future__ import annotations

import numpy as np

from sparseagent.distributions import (
    Bernoulli,
    Categorical,
    Continuous,
    EpsilonGreedy,
    MultiCategorical,
)
from sparseagent.export.writer import Writer
from sparseagent.head import Argmax, Clip, Head, Raw, Unscale


def check_head(head: Head, size: int) -> None:
    """Raise ValueError unless there is a C text for the head, and int32 holds its actions."""
    if isinstance(head, MultiCategorical):
        last = max(start + n for start, n in zip(head.starts, head.sizes, strict=True)) - 1
    else:
        last = getattr(head, "start", 0) + size - 1
    if last > np.iinfo(np.int32).max:
        raise ValueError(f"head: expected actions that int32 holds, got up to {last}")
    bounds = head.bounds if isinstance(head, Continuous) else head
    known = (Raw, Clip, Unscale, Argmax, Categorical, MultiCategorical, Bernoulli, EpsilonGreedy)
    if not isinstance(bounds, known):
        raise ValueError(f"head: no C text for {head.kind!r}")


def result_of(head: Head) -> tuple[str, str]:
    """The type that `act` returns, and the parameter behind the observations, or none."""
    if isinstance(head, Argmax | Categorical | EpsilonGreedy):
        return "int32_t", ""
    kind = "int32_t" if isinstance(head, MultiCategorical | Bernoulli) else "float"
    return "void", f"{kind} *action"


def words_of(head: Head, size: int) -> str:
    """What `act` gives, for the header."""
    if isinstance(head, Argmax | Categorical | EpsilonGreedy):
        start = getattr(head, "start", 0)
        return f"The action: {start} to {start + size - 1}, that of the largest output."
    if isinstance(head, MultiCategorical):
        return f"The action: {len(head.sizes)} choices, each that of its largest output."
    if isinstance(head, Bernoulli):
        return f"The action: {size} bits, 1 where the output is above 0."
    bounds = head.bounds if isinstance(head, Continuous) else head
    words = {"clip": "clipped to its bounds", "unscale": "stretched to its bounds"}
    return f"The action, {words.get(bounds.kind, 'as the network gives it')}."


def act_lines(writer: Writer, head: Head, size: int, forward: str) -> list[str]:
    """The body of `act`; `forward` calls the network and leaves its first output at `%s`."""
    if isinstance(head, Argmax | Categorical | EpsilonGreedy):
        start = getattr(head, "start", 0)
        first = f"{start} + " if start else ""
        return [f"float y[{size}];", forward % "y", f"return {first}sa_argmax({size}, y);"]
    if isinstance(head, Bernoulli):
        return [f"float y[{size}];", forward % "y", f"sa_bits({size}, y, action);"]
    if isinstance(head, MultiCategorical):
        sizes, starts = (
            writer.table(name, np.array(getattr(head, name), np.int32))
            for name in ("sizes", "starts")
        )
        choose = f"sa_choices({len(head.sizes)}, {sizes}, {starts}, y, action);"
        return [f"float y[{size}];", forward % "y", choose]
    lines = [forward % "action"]
    if isinstance(head, Continuous):
        lines += [f"sa_tanh_all({size}, action);"] if head.squash else []
        head = head.bounds
    if isinstance(head, Clip | Unscale):
        bounds = (writer.table(name, getattr(head.box, name).ravel()) for name in ("low", "high"))
        lines.append(f"sa_{head.kind}({size}, {', '.join(bounds)}, action);")
    return lines
