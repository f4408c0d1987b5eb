"""torch eager in inference mode: `nn.Sequential` as trained, and `addmm(out=)` without allocation.

Most deployed agents call the module; `addmm` into preallocated tensors is what the same library
can do at best, so both run and the faster one counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.contenders.torch_common import module, one_thread, tensor
from bench.nets import Float32, aligned


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """The module, and `addmm(out=)` with in-place activations."""
    one_thread()
    return (_module(policy), _addmm(policy, batch))


def _module(policy: sa.SparsePolicy) -> Variant:
    import torch

    net = module(policy)
    last: list[Any] = [None]

    def run(x: torch.Tensor) -> None:
        last[0] = net(x)

    def read() -> Float32:
        return np.asarray(last[0])

    return Variant("nn.Sequential", tensor, run, read, torch.inference_mode)


def _addmm(policy: sa.SparsePolicy, batch: int) -> Variant:
    import torch

    in_place = {"identity": None, "relu": torch.relu_, "tanh": torch.tanh_}
    steps = []
    buffer: Float32 = aligned((0,))
    for layer in dense_layers(policy):
        buffer = aligned((batch, layer.bias.size))
        weight = tensor(layer.weight).t()
        steps.append((weight, tensor(layer.bias), tensor(buffer), in_place[layer.activation]))
    out = buffer

    def run(x: torch.Tensor) -> None:
        for weight, bias, y, activate in steps:
            torch.addmm(bias, x, weight, out=y)
            if activate is not None:
                activate(y)
            x = y

    return Variant("addmm(out=)", tensor, run, lambda: out, torch.inference_mode)


CONTENDER = Contender("torch-eager", "all", needs("torch"), versions("torch"), prepare)
