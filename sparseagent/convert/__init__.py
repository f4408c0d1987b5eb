"""From torch, ONNX and agents to a SparsePolicy: the only place that sees torch and CSR.

Every door loads what it needs when it is first used: ONNX files need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseagent.convert.acting import MasksWarning, why_not
    from sparseagent.convert.agent import from_agent
    from sparseagent.convert.beside import NormaliserWarning
    from sparseagent.convert.onnx_agent import from_onnx
    from sparseagent.convert.sb3_agent import from_sb3
    from sparseagent.convert.torch_agent import from_torch

__all__ = [
    "MasksWarning",
    "NormaliserWarning",
    "from_agent",
    "from_onnx",
    "from_sb3",
    "from_torch",
    "why_not",
]

_LAZY = {
    "NormaliserWarning": "beside",
    "from_onnx": "onnx_agent",
    "MasksWarning": "acting",
    "from_agent": "agent",
    "from_sb3": "sb3_agent",
    "why_not": "acting",
    "from_torch": "torch_agent",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
