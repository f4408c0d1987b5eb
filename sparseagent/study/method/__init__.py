"""The methods of a study: one file each, found by listing this folder.

A method is a module here with `METHOD = <an object that fits Method>`; its name is the file's.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module

from sparseagent.study.method.protocol import Job, Method, Trained

__all__ = ["METHODS", "Job", "Method", "Trained"]


def _found() -> dict[str, Method]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: import_module(f"{__name__}.{name}") for name in names if name != "protocol"}
    return {
        module.METHOD.name: module.METHOD
        for module in modules.values()
        if hasattr(module, "METHOD")
    }


#: Every method by its name.
METHODS: Mapping[str, Method] = _found()
