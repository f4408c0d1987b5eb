"""Prune deep-RL agents, convert them to CSR, and run the sparse policy: small, exact, fast.

`import sparseagent` loads NumPy and the compiled core, never torch. What needs torch
(`from_sb3`, `from_torch`), ONNX (`from_onnx`) or gymnasium (`rollout`) is loaded when it is first
used.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("sparseagent._core") is None:
    raise ImportError(
        f"sparseagent: expected the compiled core in {__path__[0]}, which is a source tree; build "
        "and install it with `pip install .`, and start Python in another folder"
    )

from sparseagent.csr import CSR
from sparseagent.cuda import CudaPlan, DeviceInfo, devices
from sparseagent.distributions import (
    GSDE,
    Bernoulli,
    Categorical,
    DiagGaussian,
    EpsilonGreedy,
    MultiCategorical,
)
from sparseagent.extras import needed
from sparseagent.head import Argmax, Box, Clip, Head, Raw, Unscale, clip_to, unscale_to
from sparseagent.ops import Layer, Observation, chain
from sparseagent.plan import Plan, compile, kernels
from sparseagent.policy import SparsePolicy, load
from sparseagent.policyfile import Golden
from sparseagent.program import Program, Span
from sparseagent.sampling import Sample, Sampler

if TYPE_CHECKING:
    from sparseagent.convert import from_agent, from_onnx, from_sb3, from_torch
    from sparseagent.export import export_c
    from sparseagent.rollouts import RolloutResult, rollout
    from sparseagent.transitions import Transitions, collect

try:
    __version__ = version("sparseagent")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"

__all__ = [
    "CSR",
    "GSDE",
    "Argmax",
    "Bernoulli",
    "Box",
    "Categorical",
    "Clip",
    "CudaPlan",
    "DeviceInfo",
    "DiagGaussian",
    "EpsilonGreedy",
    "Golden",
    "Head",
    "Layer",
    "MultiCategorical",
    "Observation",
    "Plan",
    "Program",
    "Raw",
    "RolloutResult",
    "Sample",
    "Sampler",
    "Span",
    "SparsePolicy",
    "Transitions",
    "Unscale",
    "__version__",
    "chain",
    "clip_to",
    "collect",
    "compile",
    "devices",
    "export_c",
    "from_agent",
    "from_onnx",
    "from_sb3",
    "from_torch",
    "kernels",
    "load",
    "rollout",
    "unscale_to",
]

_LAZY = {
    "export_c": "sparseagent.export",
    "from_agent": "sparseagent.convert",
    "from_onnx": "sparseagent.convert",
    "from_sb3": "sparseagent.convert",
    "from_torch": "sparseagent.convert",
    "collect": "sparseagent.transitions",
    "Transitions": "sparseagent.transitions",
    "rollout": "sparseagent.rollouts",
    "RolloutResult": "sparseagent.rollouts",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sparseagent' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        raise needed(error, f"sparseagent.{name}") from None


def __dir__() -> list[str]:
    return sorted(__all__)
