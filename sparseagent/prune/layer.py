"""The layers of a module that can be pruned, and how a user picks among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

Selection: TypeAlias = Sequence[str] | Callable[[str, nn.Linear], bool]


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable layer: what a score gets to see.

    Attributes:
        name: Key of the weight in the module's `state_dict`, such as `"net.0.weight"`. Masks,
            summaries and saved states use this name.
        module: The layer itself; its weight is `[out, in]`.
    """

    name: str
    module: nn.Linear

    @property
    def weight(self) -> Tensor:
        """The live weight, `[out, in]`, masked in place."""
        return self.module.weight


def linear_layers(module: nn.Module) -> dict[str, Layer]:
    """Every `nn.Linear` below `module`, by the name of its weight, in the order of the module.

    A weight that several layers share is listed once, under its first name.
    """
    found: dict[str, Layer] = {}
    seen: set[int] = set()
    for path, child in module.named_modules():
        if not isinstance(child, nn.Linear):
            continue
        # A reparametrised layer has no own `weight`; `require_plain` refuses it if it is chosen.
        weight = child._parameters.get("weight")
        key = id(child if weight is None else weight)
        if key not in seen:
            seen.add(key)
            name = f"{path}.weight" if path else "weight"
            found[name] = Layer(name, child)
    return found


def require_plain(layer: Layer) -> None:
    """Refuse a layer whose weight cannot be masked in place.

    Raises:
        ValueError: The weight is computed from other parameters, or has no shape yet.
    """
    weight = layer.module._parameters.get("weight")
    if weight is None:
        raise ValueError(
            f"layer {layer.name!r}: expected a plain weight, got a reparametrised one "
            "(torch.nn.utils.prune or parametrize); remove the reparametrisation first"
        )
    if isinstance(weight, UninitializedParameter):
        raise ValueError(
            f"layer {layer.name!r}: expected a weight with a shape, got an uninitialised lazy "
            "layer; call the module once first"
        )


def select(layers: Iterable[Layer], selection: Selection | None) -> list[Layer]:
    """Pick layers by name or by predicate.

    Args:
        layers: The layers to choose from.
        selection: `None` for all; names, where `"net"` takes everything below `net` and
            `"net.0"` or `"net.0.weight"` one layer; or `predicate(name, linear) -> bool`.

    Returns:
        The chosen layers, in the order of `layers`.

    Raises:
        TypeError: `selection` is of another kind.
        ValueError: A name matches no layer.
    """
    pool = list(layers)
    if selection is None:
        return pool
    if callable(selection):
        return [layer for layer in pool if selection(layer.name, layer.module)]
    if isinstance(selection, str) or not isinstance(selection, Sequence):
        raise TypeError(
            "layers: expected a list of names or a callable (name, linear) -> bool, "
            f"got {type(selection).__name__}"
        )
    chosen: set[str] = set()
    for entry in selection:
        matched = [
            layer.name
            for layer in pool
            if layer.name == entry or layer.name.startswith(f"{entry}.")
        ]
        if not matched:
            known = ", ".join(layer.name for layer in pool)
            raise ValueError(f"layers: expected names among [{known}], got {entry!r}")
        chosen.update(matched)
    return [layer for layer in pool if layer.name in chosen]


def below(module: nn.Module) -> dict[str, nn.Linear]:
    """Every `nn.Linear` below `module` by its path in it, shared ones under each of their paths."""
    return {
        path: child
        for path, child in module.named_modules(remove_duplicate=False)
        if isinstance(child, nn.Linear)
    }
