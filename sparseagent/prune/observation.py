"""What scores and growths remember: running averages over the updates, kept by the sparsifier.

The gradients of pruned weights are there only between the backward pass and the step of the
optimizer, so a hook before the step feeds them in. Scores and growths themselves have no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor

from sparseagent.prune.layer import Layer


class Observer(Protocol):
    """A score or growth that has to see every update, not only the last one."""

    @property
    def average(self) -> int | None:
        """Updates in the moving average of what is observed; `None`: the mean over all so far."""
        ...

    def observe(self, layer: Layer) -> Tensor:
        """What to average, `[out, in]`, seen after the backward pass and before the step.

        `layer.weight.grad` is the dense gradient: that of the pruned weights is in it.
        `layer.observed` is the average so far, `None` at first.
        """
        ...


def is_observer(method: object) -> TypeGuard[Observer]:
    """Whether a score or growth has to see every update."""
    return callable(getattr(method, "observe", None))


def gradient(layer: Layer) -> Tensor:
    """The present gradient of a layer's weight, `[out, in]`."""
    grad = layer.weight.grad
    assert grad is not None, "Averages skips layers without a gradient"
    return grad


class Averages:
    """The running averages of one observer, by the name of the weight.

    The first `average` updates count alike; from then on an update counts 1 / average, and the
    older ones fade.

    Args:
        method: A score or growth; one that is no `Observer` leaves this empty.
    """

    def __init__(self, method: object) -> None:
        self._observer = method if is_observer(method) else None
        self._means: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    @torch.no_grad()
    def update(self, layers: Iterable[Layer]) -> None:
        """Take in the present gradients of these layers; one without a gradient is skipped."""
        observer = self._observer
        if observer is None:
            return
        for layer in layers:
            if layer.weight.grad is None:
                continue
            seen = observer.observe(self.show(layer)).detach()
            count = self._counts.get(layer.name, 0) + 1
            self._counts[layer.name] = count
            if count == 1:
                self._means[layer.name] = seen.clone()
                continue
            share = 1.0 / (count if observer.average is None else min(count, observer.average))
            self._means[layer.name].lerp_(seen, share)

    def show(self, layer: Layer) -> Layer:
        """The layer with what was observed of it."""
        return replace(layer, observed=self._means.get(layer.name))

    def to_state(self) -> dict[str, Any]:
        """Plain values and CPU tensors."""
        means = {name: mean.to("cpu", copy=True) for name, mean in self._means.items()}
        return {"means": means, "counts": dict(self._counts)}

    def from_state(self, state: object, layers: Iterable[Layer]) -> Averages:
        """The averages of the same observer in a state of `to_state`.

        Raises:
            ValueError: It is no such state, or its names or shapes are not those of the layers.
        """
        if not isinstance(state, Mapping) or set(state) != {"means", "counts"}:
            got = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise ValueError(f"state: expected 'means' and 'counts' of an observer, got {got}")
        loaded = Averages(self._observer)
        known = {layer.name: layer.weight for layer in layers}
        means, counts = state["means"], state["counts"]
        if set(means) != set(counts) or not set(means) <= set(known):
            raise ValueError(
                f"state: expected observations of {sorted(known)}, got {sorted(means)} and "
                f"counts of {sorted(counts)}"
            )
        for name, mean in means.items():
            _check(name, mean, counts[name], known[name])
            loaded._means[name] = mean.to(known[name].device, copy=True)
            loaded._counts[name] = counts[name]
        return loaded


def _check(name: str, mean: object, count: object, weight: Tensor) -> None:
    if not isinstance(mean, Tensor) or mean.shape != weight.shape:
        got = str(list(mean.shape)) if isinstance(mean, Tensor) else type(mean).__name__
        raise ValueError(
            f"state: expected observations of {list(weight.shape)} for {name!r}, got {got}"
        )
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"state: expected a count of at least 1 for {name!r}, got {count!r}")
