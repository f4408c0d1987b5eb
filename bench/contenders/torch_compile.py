"""torch compiled: `torch.compile` (Inductor) and the same code ahead of time (AOTInductor).

`torch.compile` pays for a run-time wrapper at every call, even with its guards taken off as here;
AOTInductor called through its boxed runner pays little. Compilation takes seconds and is never
timed. Weights are inputs of the compiled code, so one compilation per shape and batch size serves
every sparsity. Inductor's `freezing` (weights as constants, packed for MKL) is left out: it did not
win here and compiles anew for every policy; packed weights have `torch-onednn` for a contender.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.contenders.torch_common import one_thread, tensor
from bench.nets import Float32

if TYPE_CHECKING:
    import torch

    Tensors = Sequence[torch.Tensor]
    Compiled = Callable[[torch.Tensor, Tensors, Tensors], torch.Tensor]


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """Both ways; the second time for the same shapes neither compiles."""
    import torch

    one_thread()
    layers = dense_layers(policy)
    weights = [tensor(layer.weight) for layer in layers]
    biases = [tensor(layer.bias) for layer in layers]
    shapes = tuple(layer.weight.shape for layer in layers)
    activations = tuple(layer.activation for layer in layers)
    just_in_time = _inductor(shapes, activations, batch)
    ahead_of_time = _aot_inductor(shapes, activations, batch)
    last: list[Any] = [None]

    def run_just_in_time(x: torch.Tensor) -> None:
        last[0] = just_in_time(x, weights, biases)

    def run_ahead_of_time(x: torch.Tensor) -> None:
        last[0] = ahead_of_time([x, *weights, *biases])[0]

    def read() -> Float32:
        return np.asarray(last[0])

    return (
        Variant("torch.compile", tensor, run_just_in_time, read, torch.inference_mode),
        Variant("AOTInductor", tensor, run_ahead_of_time, read, torch.inference_mode),
    )


Shapes = tuple[tuple[int, ...], ...]


def _forward(activations: tuple[str, ...]) -> Compiled:
    import torch

    steps = {"identity": None, "relu": torch.relu, "tanh": torch.tanh}

    def forward(x: torch.Tensor, weights: Tensors, biases: Tensors) -> torch.Tensor:
        for weight, bias, name in zip(weights, biases, activations, strict=True):
            x = torch.nn.functional.linear(x, weight, bias)
            activate = steps[name]
            if activate is not None:
                x = activate(x)
        return x

    return forward


def _examples(shapes: Shapes, batch: int) -> tuple[Any, list[Any], list[Any]]:
    import torch

    weights = [torch.zeros(shape) for shape in shapes]
    return torch.zeros(batch, shapes[0][1]), weights, [torch.zeros(shape[0]) for shape in shapes]


@lru_cache(maxsize=1)
def _inductor(shapes: Shapes, activations: tuple[str, ...], batch: int) -> Compiled:
    """The compiled forward, warmed up with zeros."""
    import torch

    torch._dynamo.reset()
    guards: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the compiler warns about its own deprecated parts
        compiled: Compiled = torch.compile(
            _forward(activations), dynamic=False, fullgraph=True, options=guards
        )
        compiled(*_examples(shapes, batch))
    return compiled


@lru_cache(maxsize=1)
def _aot_inductor(shapes: Shapes, activations: tuple[str, ...], batch: int) -> Any:
    """The boxed runner of the exported forward: `[x, *weights, *biases] -> [y]`."""
    import torch

    class Forward(torch.nn.Module):
        """The exporter takes modules only."""

        def __init__(self) -> None:
            super().__init__()
            self.compute = _forward(activations)

        def forward(self, x: torch.Tensor, weights: Tensors, biases: Tensors) -> torch.Tensor:
            return self.compute(x, weights, biases)

    with (
        warnings.catch_warnings(),
        torch.no_grad(),
        tempfile.TemporaryDirectory(prefix="sparseagent-bench-") as folder,
    ):
        warnings.simplefilter("ignore")
        exported = torch.export.export(Forward(), _examples(shapes, batch))
        target = str(Path(folder) / "policy.pt2")
        package = torch._inductor.aoti_compile_and_package(exported, package_path=target)
        return torch._inductor.aoti_load_package(package).loader.boxed_run


def missing() -> str:
    """The compiler that Inductor needs is the usual reason."""
    compiler = os.environ.get("CXX", "g++")
    return needs("torch")() or ("" if shutil.which(compiler) else f"no C++ compiler ({compiler})")


CONTENDER = Contender("torch-compile", "all", missing, versions("torch"), prepare)
