"""What a neuron score gets to see, and how activations are recorded for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparseagent.agents import adapt
from sparseagent.prune.neuron_layers import NeuronLayer


@dataclass(frozen=True, eq=False)
class Neurons:
    """One layer of hidden neurons.

    Attributes:
        name: Name of the weight that makes them, such as `"net.0.weight"`.
        weight: That weight, `[out, in]`, one row for each neuron.
        bias: Its bias, `[out]`, or `None`.
        outgoing: The weights of the layers that take them in, `[next, out]` each.
        outgoing_grad: Their gradients of the last update, or `None` where there was none.
        recorded: Activations `[N, out]` on a batch, or `None` where no batch was given.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    outgoing: tuple[Tensor, ...]
    outgoing_grad: tuple[Tensor | None, ...]
    recorded: Tensor | None

    @property
    def activations(self) -> Tensor:
        """The recorded activations, `[N, out]`.

        Raises:
            ValueError: No batch was given.
        """
        if self.recorded is None:
            raise ValueError("batch: expected inputs, as this score looks at activations, got None")
        return self.recorded


def look(hidden: NeuronLayer, recorded: Tensor | None) -> Neurons:
    """Neurons as a score sees them; `recorded` holds their activations `[N, out]` or `None`."""
    layer, readers = hidden.layer, [read.layer for read in hidden.reads]
    return Neurons(
        hidden.name,
        layer.weight.detach(),
        None if layer.bias is None else layer.bias.detach(),
        tuple(reader.weight.detach() for reader in readers),
        tuple(reader.weight.grad for reader in readers),
        recorded,
    )


def record(module: nn.Module, hidden: Sequence[NeuronLayer], batch: Any) -> dict[str, Tensor]:
    """Activations of hidden neurons on a batch, as the layers that read them take them in.

    The module runs once, in evaluation mode and without gradients; a policy runs its actor and,
    on the actor's actions, its critics.

    Args:
        module: A network, or a policy of Stable-Baselines3.
        hidden: Neurons of that module.
        batch: Inputs `[N, ...]` as a tensor; for a policy observations as its environment gives
            them, an array or a tensor.

    Returns:
        `[N, out]` by name, for all neurons that a layer reads.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0].detach().flatten(0, -2).clone()

        return hook

    handles = [
        one.reads[0].layer.register_forward_pre_hook(keep(one.name)) for one in hidden if one.reads
    ]
    training = {child: child.training for child in module.modules()}
    try:
        module.eval()
        with torch.no_grad():
            _run(module, batch)
    finally:
        for handle in handles:
            handle.remove()
        for child, mode in training.items():
            child.training = mode
    return seen


def _run(module: nn.Module, batch: Any) -> None:
    agent = adapt(module)
    if agent is not None:
        agent.run(batch)
        return
    if not isinstance(batch, Tensor):
        raise TypeError(f"batch: expected a tensor [N, in], got {type(batch).__name__}")
    module(batch)
