"""The masks of all pruned layers, kept beside the module that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from sparseagent.prune.layer import Layer
from sparseagent.prune.layout import Layout


class MaskSet(Mapping[str, Tensor]):
    """One mask for each pruned layer, `[out, in]` bool, True = kept, by the name of the weight.

    Args:
        layout: What is pruned. All weights are kept at first.

    Attributes:
        layers: The layers, in the order of the parts.
        factors: The masks that prune anything, as zeros and ones of the weight's type.
    """

    def __init__(self, layout: Layout) -> None:
        self.layers = tuple(layer for part in layout.parts for layer in part.layers)
        self.factors: dict[str, Tensor] = {}
        self._twins = layout.twins
        self._masks: dict[str, Tensor] = {}
        self._kept: dict[str, int] = {}
        self.replace({i.name: torch.ones_like(i.weight, dtype=torch.bool) for i in self.layers})

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def replace(self, masks: Mapping[str, Tensor]) -> None:
        """Put new masks, `[out, in]` bool, in the place of those of the same names."""
        for layer in self.layers:
            if layer.name not in masks:
                continue
            mask = masks[layer.name].to(layer.weight.device)
            self._masks[layer.name] = mask
            self._kept[layer.name] = int(mask.sum())
            self.factors.pop(layer.name, None)
            # A layer that is still dense costs its hook nothing.
            if self._kept[layer.name] < mask.numel():
                self.factors[layer.name] = mask.to(layer.weight.dtype)

    def kept(self, layers: Iterable[Layer]) -> int:
        """How many weights these layers keep."""
        return sum(self._kept[layer.name] for layer in layers)

    def sparsity(self, layers: Iterable[Layer]) -> float:
        """Fraction of zeros in these layers, in [0, 1)."""
        chosen = list(layers)
        return 1.0 - self.kept(chosen) / sum(layer.weight.numel() for layer in chosen)

    @torch.no_grad()
    def zero_weights(self) -> None:
        """Fill the pruned weights, and their twins in target networks, with +0.0."""
        twins = [(name, linear.weight) for name, linear in self._twins]
        for name, weight in [(layer.name, layer.weight) for layer in self.layers] + twins:
            if name in self.factors:
                weight.masked_fill_(~self._masks[name].to(weight.device), 0.0)

    @torch.no_grad()
    def rescale(self, before: Mapping[str, Tensor]) -> None:
        """Scale the kept weights of each neuron, and of its twins, by 1 / sqrt(share that is left).

        Args:
            before: Masks before the change, `[out, in]` bool, by the name of the weight.
        """
        factors = {}
        for layer in self.layers:
            now, then = self._masks[layer.name].sum(1), before[layer.name].sum(1)
            # A neuron that lost all its weights has nothing to scale.
            factors[layer.name] = (then / now.clamp(min=1)).sqrt().to(layer.weight.dtype)
        twins = [(name, linear.weight) for name, linear in self._twins]
        for name, weight in [(layer.name, layer.weight) for layer in self.layers] + twins:
            weight.mul_(factors[name].to(weight.device)[:, None])
