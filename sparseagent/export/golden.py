"""The self-test inside an exported policy: observations, and the bits they must give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.export.writer import c_number, c_type, rows_of
from sparseagent.ops import Observation
from sparseagent.policy import SparsePolicy
from sparseagent.reference import by_name

#: Observations that are written down, at most.
MOST = 8


def self_test(policy: SparsePolicy, outputs: Mapping[str, str]) -> str:
    """A `main` that gives 0, or the number of the first observation that fails."""
    golden = policy.golden or _made(policy)
    given = by_name(policy.program, golden.observations)
    count = min(MOST, len(golden.outputs))
    size = policy.output_size
    tables, arguments = [], []
    for number, array in enumerate(given.values()):
        one = array[0].size
        tables.append(_bits(f"sa_given{number}", array[:count]))
        arguments.append(f"sa_given{number}.number + n * {one}")
    tables.append(_bits("sa_wanted", golden.outputs[:count]))
    seen = ", ".join(arguments)
    rest = ", 0" * (len(outputs) - 1)
    lines = [f"sa_forward({seen}, y.number{rest});"]
    lines += _compared("bits", "sa_wanted.bits", size)
    if golden.actions.dtype == np.int64:
        chosen = golden.actions[:count].astype(np.int32)
        one = chosen[0].size
        rows = rows_of(str(action) for action in chosen.ravel())
        tables.append(f"static const int32_t sa_chosen[{chosen.size}] = {{\n{rows}}};")
        if chosen.ndim == 1:
            lines.append(f"if (sa_act({seen}) != sa_chosen[n]) return n + 1;")
        else:
            lines.append(f"sa_act({seen}, y.chosen);")
            lines += _compared("chosen", "sa_chosen", one)
    else:
        tables.append(_bits("sa_chosen", golden.actions[:count]))
        lines += [f"sa_act({seen}, y.number);", *_compared("bits", "sa_chosen.bits", size)]
    body = "\n    ".join(lines)
    return (
        "#ifdef SA_SELFTEST\n"
        + "\n".join(tables)
        + f"\nint main(void) {{\n  union {{\n    uint32_t bits[{size}];\n    float number[{size}];"
        f"\n    int32_t chosen[{size}];\n  }} y;\n  int n, i;\n"
        f"  for (n = 0; n < {count}; ++n) {{\n    {body}\n  }}\n"
        "  return 0;\n}\n#endif"
    )


def _compared(got: str, wanted: str, size: int) -> list[str]:
    return [
        f"for (i = 0; i < {size}; ++i) {{",
        f"  if (y.{got}[i] != {wanted}[n * {size} + i]) return n + 1;",
        "}",
    ]


def _bits(name: str, array: NDArray[Any]) -> str:
    """An array by its bits, for it may hold NaN."""
    kind = array.dtype.kind
    if kind == "f":
        whole = np.dtype(f"u{array.dtype.itemsize}")
        suffix = "u" if whole.itemsize == 4 else "ull"
        items = rows_of(f"{int(v):#x}{suffix}" for v in array.ravel().view(whole))
    else:
        whole = array.dtype
        items = rows_of(c_number(v, array.dtype) for v in array.ravel())
    return (
        f"static const union {{\n  {c_type(whole)} bits[{array.size}];\n"
        f"  {c_type(array.dtype)} number[{array.size}];\n}} {name} = {{{{\n{items}}}}};"
    )


def _made(policy: SparsePolicy) -> Any:
    """A self-test for a policy without one: what it gives for some random observations."""
    rng = np.random.default_rng(0)
    made = {name: _random(rng, step) for name, step in policy.inputs.items()}
    given = next(iter(made.values())) if len(made) == 1 else made
    return policy.with_golden(given).golden


def _random(rng: np.random.Generator, step: Observation) -> NDArray[Any]:
    if step.categories:
        counts = np.reshape(step.categories, step.shape)
        return np.asarray(rng.random((MOST, *step.shape)) * counts).astype(step.dtype)
    if np.dtype(step.dtype).kind == "f":
        return rng.normal(size=(MOST, *step.shape)).astype(step.dtype)
    return rng.integers(0, 2 if step.dtype == "bool" else 100, (MOST, *step.shape)).astype(
        step.dtype
    )
