"""Names that C takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_KEYWORDS = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "main",
        "work",
        "to",
        "i",
        "n",
        "y",
    ]
)


def check_name(name: str) -> None:
    """Raise ValueError unless C names may begin with `name`."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name, re.ASCII) or name in _KEYWORDS:
        raise ValueError(
            f"name: expected letters, digits and _ that C may name things by, got {name!r}; "
            "give another one"
        )


def c_names(names: Iterable[str], prefix: str, taken: Collection[str] = ()) -> dict[str, str]:
    """A C name for each of `names`, no two alike: its own where C takes it."""
    found: dict[str, str] = {}
    for number, name in enumerate(names):
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()
        if not re.match(r"[a-z]", plain) or plain in _KEYWORDS or plain.startswith("sa_"):
            plain = f"{prefix}_{plain}".rstrip("_")
        while plain in {*taken, *found.values()}:
            plain = f"{plain}_{number}"
        found[name] = plain
    return found
