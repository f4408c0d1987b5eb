"""The C functions that an exported policy may need, and which of them need each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from sparseagent import _core
from sparseagent.export.translate import formulas, translated

_FOLDER = Path(__file__).parent / "c"
_LONG_ROWS = r" */\* long rows \{ \*/\n.*?/\* \} \*/\n"
_DEFINED = re.compile(r"^(?:static|typedef|struct|enum)\b[^;={]*?\b(sa_\w+)\s*[({]", re.M)


@cache
def parts() -> Mapping[str, str]:
    """Definitions by name, each behind those it needs. In the files a blank line ends one."""
    found = {"sa_fma": text_of("fma")}
    found |= _split(text_of("arithmetic"))
    found |= translated(_core.ACTIVATION_H)
    for name, formula in formulas(_core.ACTIVATION_H).items():
        found[f"sa_{name}_all"] = _over_all(name, formula)
    found |= translated(_core.RANDOM_H)
    for name in ("layers", "windows", "ops", "heads"):
        found |= _split(text_of(name))
    return found


def takes_alpha(activation: str) -> bool:
    """Whether the C function of an activation has the parameter."""
    return "float alpha" in parts()[f"sa_{activation}_all"]


def closure(names: Iterable[str], *, long_rows: bool) -> list[str]:
    """The definitions of `names` and of all that they need, in an order that C takes.

    Args:
        names: what is called.
        long_rows: whether two steps of a row at a time are worth their flash.
    """
    known, wanted, open_ = parts(), set(), list(names)
    while open_:
        name = open_.pop()
        if name not in wanted:
            wanted.add(name)
            called = set(re.findall(r"\bsa_\w+(?=\()", known[name]))
            here = set(re.findall(r"^static[^(]*\b(sa_\w+)\(", known[name], re.M))
            missing = called - here - set(known)
            assert not missing, f"{name}: no C text for {missing}"
            open_ += [other for other in re.findall(r"\bsa_\w+", known[name]) if other in known]
    marked = r" */\* (?:long rows \{|\}) \*/\n" if long_rows else _LONG_ROWS
    return [re.sub(marked, "", text, flags=re.S) for name, text in known.items() if name in wanted]


def text_of(name: str) -> str:
    """A file of `c/`."""
    return (_FOLDER / f"{name}.c").read_text().strip()


def _over_all(name: str, formula: str) -> str:
    """An activation over `y[n]`, four at a time where that is short."""
    alpha = "float alpha, " if re.search(r"\balpha\b", formula) else ""
    one = f"static inline float sa_{name}_of(float sum{', float alpha' if alpha else ''}) {{"
    sums = f"  const float x = sum + 0.0f; /* -0 counts as +0 */\n  return {formula};\n}}\n"
    call = f"sa_{name}_of(%s{', alpha' if alpha else ''})"
    short = (
        "  for (; n >= 4; n -= 4, y += 4) {\n"
        + "".join(f"    y[{i}] = {call % f'y[{i}]'};\n" for i in range(4))
        + "  }\n"
    )
    cheap = "sa_" not in formula.replace("sa_positive_part", "")
    return (
        f"{one}\n{sums}static void sa_{name}_all(int32_t n, {alpha}float *y) {{\n  int32_t i;\n"
        f"{short if cheap else ''}  for (i = 0; i < n; ++i) y[i] = {call % 'y[i]'};\n}}"
    )


def _split(text: str) -> dict[str, str]:
    found = {}
    for part in text.split("\n\n"):
        match = _DEFINED.search(part)
        if match is None:
            raise ValueError(f"expected one definition between blank lines, got {part[:80]!r}")
        found[match.group(1)] = part
    return found
