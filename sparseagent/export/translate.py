"""The core's functions of one number as C99: its headers are read, not written again.

`csrc/simd/activation.h` and `csrc/simd/random.h` are written over a type `vec` and some twenty
primitives of it, without templates, overloads or libraries in what is read here. With one lane a
vector is a float, and a call such as `add(x, y)` is `(x + y)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# Calls that C has an operator for; the others are functions of `c/arithmetic.c` or of the header.
_OPERATORS: Mapping[str, Callable[..., str]] = {
    "splat": lambda a: a,
    "add": lambda a, b: f"({a} + {b})",
    "sub": lambda a, b: f"({a} - {b})",
    "mul": lambda a, b: f"({a} * {b})",
    "div": lambda a, b: f"({a} / {b})",
    "less": lambda a, b: f"({a} < {b})",
    "select": lambda m, a, b: f"({m} ? {a} : {b})",
    "splat_bits": lambda a: a,
    "add_bits": lambda a, b: f"({a} + {b})",
    "and_bits": lambda a, b: f"({a} & {b})",
    "xor_bits": lambda a, b: f"({a} ^ {b})",
    "shift_right": lambda n, a: f"({a} >> {n})",
    "to_float": lambda a: f"(float)(int32_t)({a})",
    "all": lambda m: m,
    "__builtin_inff": lambda _: "(1.0f / 0.0f)",
}
_TYPES = {"vec": "float", "mask": "int", "ivec": "uint32_t"}
_FUNCTION = re.compile(
    r"^(?:inline|SPARSEAGENT_FUNCTION) (vec|\w+) (\w+)"
    r"\(((?:const float \*\w+, )?(?:vec|ivec|float)[^()*]*)\) (?={)",
    re.M,
)
_STRUCT = re.compile(r"^struct (\w+) (\{[^{}]*\};)", re.M)
_CASE = re.compile(
    r"case Activation::(\w+):\s*return behind\(\s*\[&?\]\(vec x\) \{ return (.*?); \}\);", re.S
)
_CALL = re.compile(r"\b(\w+)\(")


def translated(header: str) -> dict[str, str]:
    """Definitions in C99 by their names, in the order of the header; names begin with `sa_`."""
    text = re.sub(r"^ *//.*\n|[ \t]*//.*", "", header, flags=re.M)
    text = re.sub(r"shift_right<(\d+)>\(", r"shift_right(\1, ", text)
    text = re.sub(r"\(&(\w+)\)\[\d+\]", r"*\1", text).replace("constexpr ", "static const ")
    text = re.sub(r"\b(k[A-Z]\w*)\b", r"sa_\1", text)
    structs = dict(_STRUCT.findall(text))
    found = {
        f"sa_{name}": _typed(f"struct sa_{name} {body}", structs) for name, body in structs.items()
    }
    for match in _FUNCTION.finditer(text):
        kind, name, parameters = match.groups()
        if kind != "vec" and kind not in structs:
            continue
        body = text[match.end() : _closing(text, match.end()) + 1]
        body = re.sub(r"return \{(.*?)\};", rf"return ({kind}){{\1}};", body, flags=re.S)
        whole = f"static inline {kind} sa_{name}({parameters}) {_calls(body)}"
        found[f"sa_{name}"] = _typed(whole, structs)
    return found


def formulas(header: str) -> dict[str, str]:
    """What `with_activation` makes of a sum `x`, by activation, in C99."""
    cases = dict(_CASE.findall(header))
    return {name: _calls(" ".join(formula.split())) for name, formula in cases.items()}


def _typed(text: str, structs: Mapping[str, str]) -> str:
    for name, other in (*_TYPES.items(), *((s, f"struct sa_{s}") for s in structs)):
        text = re.sub(rf"(?<!struct )\b{name}\b", other, text)
    return text


def _calls(text: str) -> str:
    """The text with every call as C has it, from the inside out."""
    match = _CALL.search(text)
    if match is None:
        return text
    end = _closing(text, match.end() - 1)
    arguments = [_calls(part.strip()) for part in _split(text[match.end() : end])]
    name = match.group(1)
    if name in _OPERATORS:
        call = _OPERATORS[name](*arguments)
    else:
        call = f"sa_{name}({', '.join(arguments)})"
    return text[: match.start()] + call + _calls(text[end + 1 :])


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] in "({") - (text[place] in ")}")
        if depth == 0:
            return place
    raise ValueError(f"expected a bracket to close: {text[start : start + 40]!r}")


def _split(arguments: str) -> list[str]:
    """At the commas outside of all brackets."""
    parts, depth = [""], 0
    for sign in arguments:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts
