"""What the torch contenders share: tensors over aligned memory, one thread, inference mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sparseagent as sa
from bench.contenders.base import dense_layers
from bench.nets import Float32

if TYPE_CHECKING:
    import torch


def one_thread() -> None:
    """One torch thread: on small nets more only wait for each other."""
    import torch

    torch.set_num_threads(1)


def tensor(array: Float32) -> torch.Tensor:
    """A tensor over the memory of `array`: allocated once, not part of a call."""
    import torch

    return torch.from_numpy(array)


def module(policy: sa.SparsePolicy) -> torch.nn.Sequential:
    """The policy as `nn.Sequential`, as training code leaves it behind: pruned weights are 0."""
    import torch

    steps: list[torch.nn.Module] = []
    for layer in dense_layers(policy):
        out, width = layer.weight.shape
        linear = torch.nn.Linear(width, out)
        with torch.no_grad():
            linear.weight.copy_(tensor(layer.weight))
            linear.bias.copy_(tensor(layer.bias))
        steps.append(linear)
        if layer.activation != "identity":
            steps.append({"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[layer.activation]())
    return torch.nn.Sequential(*steps).eval()
