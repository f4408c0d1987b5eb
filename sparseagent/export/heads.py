"""The action heads as C: the deterministic action of the first output, and a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparseagent.distributions import (
    GSDE,
    Bernoulli,
    Categorical,
    Continuous,
    DiagGaussian,
    EpsilonGreedy,
    MultiCategorical,
)
from sparseagent.export.writer import Writer, c_number
from sparseagent.head import Argmax, Clip, Head, Raw, Unscale

#: What a sample is a function of, beside the observation.
DRAW = "uint64_t seed, uint64_t step, uint32_t row"
_DRAW = "seed, step, row"
_ONE = (Argmax, Categorical, EpsilonGreedy)  # one of n
# What counts of a logarithm of a deviation, as in csrc/core/head.h.
_LOG_STD_RANGE = (-87.0, 88.0)


def check_head(head: Head, size: int) -> None:
    """Raise ValueError unless there is a C text for the head, and int32 holds its actions."""
    if isinstance(head, MultiCategorical):
        last = max(start + n for start, n in zip(head.starts, head.sizes, strict=True)) - 1
    else:
        last = getattr(head, "start", 0) + size - 1
    if last > np.iinfo(np.int32).max:
        raise ValueError(f"head: expected actions that int32 holds, got up to {last}")
    known = (*_ONE, Raw, Clip, Unscale, MultiCategorical, Bernoulli, DiagGaussian, GSDE)
    if not isinstance(head, known):
        raise ValueError(f"head: no C text for {head.kind!r}")


def result_of(head: Head) -> tuple[str, str]:
    """The type that `act` returns, and the parameter behind the observations, or none."""
    if isinstance(head, _ONE):
        return "int32_t", ""
    kind = "int32_t" if isinstance(head, MultiCategorical | Bernoulli) else "float"
    return "void", f"{kind} *action"


def words_of(head: Head, size: int) -> str:
    """What `act` gives, for the header."""
    if isinstance(head, _ONE):
        start = getattr(head, "start", 0)
        return f"The action: {start} to {start + size - 1}, that of the largest output."
    if isinstance(head, MultiCategorical):
        return f"The action: {len(head.sizes)} choices, each that of its largest output."
    if isinstance(head, Bernoulli):
        return f"The action: {size} bits, 1 where the output is above 0."
    bounds = head.bounds if isinstance(head, Continuous) else head
    words = {"clip": "clipped to its bounds", "unscale": "stretched to its bounds"}
    return f"The action, {words.get(bounds.kind, 'as the network gives it')}."


def act_lines(writer: Writer, head: Head, size: int, call: str) -> list[str]:
    """The body of `act`; `call` runs the network and leaves its first output at `%s`."""
    lines = [f"float y[{size}];", call % "y"]
    if isinstance(head, _ONE):
        return [*lines, f"return {_from(head)}sa_argmax({size}, y);"]
    if isinstance(head, Bernoulli):
        return [*lines, f"sa_bits({size}, y, action);"]
    if isinstance(head, MultiCategorical):
        return [*lines, f"sa_choices({_choices(writer, head)}, y, action);"]
    return [call % "action", *_finish(writer, head, size)]


def sample_lines(
    writer: Writer, head: Head, outputs: Sequence[tuple[str, int]], call: str
) -> list[str]:
    """The body of `sample`.

    Args:
        writer: takes the tables.
        head: one that samples.
        outputs: names and sizes of the program's outputs.
        call: runs the network; its outputs go to `%s`.
    """
    size = outputs[0][1]
    lines = [f"float y[{size}];", call % ("y" + ", 0" * (len(outputs) - 1))]
    if isinstance(head, EpsilonGreedy):
        epsilon = c_number(head.epsilon, np.float32)
        return [*lines, f"return {_from(head)}sa_explore({size}, {epsilon}, y, {_DRAW});"]
    if isinstance(head, Categorical):
        word = "sa_word_of(seed, step, 0, row, 0)"
        return [*lines, f"return {_from(head)}sa_drawn({size}, y, {word});"]
    if isinstance(head, Bernoulli):
        return [*lines, f"sa_draw_bits({size}, y, {_DRAW}, action);"]
    if isinstance(head, MultiCategorical):
        return [*lines, f"sa_draw_choices({_choices(writer, head)}, y, {_DRAW}, action);"]
    parameter = "latent" if isinstance(head, GSDE) else "log_std"
    read = isinstance(head, GSDE) or (isinstance(head, DiagGaussian) and head.log_std is None)
    given = [
        "action" if n == 0 else "parameter" if name == parameter and read else "0"
        for n, (name, _) in enumerate(outputs)
    ]
    lines = [f"float parameter[{dict(outputs)[parameter]}];"] if read else []
    lines.append(call % ", ".join(given))
    if isinstance(head, GSDE):
        std = writer.table("std", head.std.ravel())
        what = f"{size}, {head.std.shape[0]}, parameter, {std}, {head.resample}"
        lines.append(f"sa_draw_gsde({what}, {_DRAW}, action);")
    elif isinstance(head, DiagGaussian):
        source = "parameter" if head.log_std is None else writer.table("log_std", head.log_std)
        low, high = _LOG_STD_RANGE
        if head.log_std_range is not None:
            low = min(max(head.log_std_range[0], low), high)
            high = max(min(head.log_std_range[1], high), _LOG_STD_RANGE[0])
        limits = ", ".join(c_number(limit, np.float32) for limit in (low, high))
        lines.append(f"sa_draw_gaussian({size}, {source}, {limits}, {_DRAW}, action);")
    return lines + _finish(writer, head, size)


def _from(head: Head) -> str:
    start = getattr(head, "start", 0)
    return f"{start} + " if start else ""


def _choices(writer: Writer, head: MultiCategorical) -> str:
    tables = [
        writer.table(name, np.array(getattr(head, name), np.int32)) for name in ("sizes", "starts")
    ]
    return f"{len(head.sizes)}, {', '.join(tables)}"


def _finish(writer: Writer, head: Head, size: int) -> list[str]:
    """Squash and bounds of a continuous action, in place."""
    lines = []
    if isinstance(head, Continuous):
        lines += [f"sa_squash({size}, action);"] if head.squash else []
        head = head.bounds
    if isinstance(head, Clip | Unscale):
        bounds = (writer.table(name, getattr(head.box, name).ravel()) for name in ("low", "high"))
        lines.append(f"sa_{head.kind}({size}, {', '.join(bounds)}, action);")
    return lines
