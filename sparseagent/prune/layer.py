"""The layers of a module that can be pruned, and how a user picks among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeGuard

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable layer: what a score gets to see.

    Attributes:
        name: Key of the weight in the module's `state_dict`, such as `"net.0.weight"`. Masks,
            summaries and saved states use this name.
        module: The layer itself; its weight is `[out, in]`.
        observed: What the score or growth that is asked has observed of this layer, averaged over
            the updates, `[out, in]`; `None` before the first one. See `Observer`.
        reads_input: Whether its columns are the inputs of its network; found only for scores that
            ask for it, such as `InputNorm`.
    """

    name: str
    module: nn.Linear
    observed: Tensor | None = None
    reads_input: bool = False

    @property
    def weight(self) -> Tensor:
        """The live weight, `[out, in]`, masked in place."""
        return self.module.weight

    def require_observed(self, name: str) -> Tensor:
        """What was observed, `[out, in]`.

        Args:
            name: The argument of `Sparsifier` that asks, for the message.

        Raises:
            ValueError: No update was seen yet.
        """
        if self.observed is None:
            raise ValueError(
                f"{name}: expected at least one gradient update before weights of {self.name!r} "
                "are chosen by gradients, got none; prune later, such as OneShot(to, at=0.01), or "
                "call Sparsifier.observe() after a backward pass"
            )
        return self.observed


class Pick(Protocol):
    """A choice of layers by their place in a network, such as `Top(2)` or `Hidden()`."""

    def pick(self, chain: Sequence[Layer]) -> Sequence[Layer]:
        """Those chosen of one network, whose layers come in the order in which they run."""
        ...


Selection: TypeAlias = Sequence[str] | Callable[[str, nn.Linear], bool] | Pick


def linear_layers(module: nn.Module) -> dict[str, Layer]:
    """Every `nn.Linear` below `module`, by the name of its weight, in the order of the module.

    A weight that several layers share is listed once, under its first name.
    """
    found: dict[str, Layer] = {}
    seen: set[int] = set()
    for path, child in module.named_modules():
        if not isinstance(child, nn.Linear):
            continue
        key = weight_key(child)
        if key not in seen:
            seen.add(key)
            name = f"{path}.weight" if path else "weight"
            found[name] = Layer(name, child)
    return found


def weight_key(linear: nn.Linear) -> int:
    """A number that layers have in common if they share their weight."""
    # A reparametrised layer has no own `weight`; `require_plain` refuses it if it is chosen.
    weight = linear._parameters.get("weight")
    return id(linear if weight is None else weight)


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


def select(
    layers: Iterable[Layer], selection: Selection | None, chains: Iterable[Sequence[Layer]]
) -> list[Layer]:
    """Pick layers by name, by predicate, or by their place in a network.

    Args:
        layers: The layers to choose from.
        selection: `None` for all; names, where `"net"` takes everything below `net` and
            `"net.0"` or `"net.0.weight"` one layer; `predicate(name, linear) -> bool`; or a `Pick`.
        chains: The layers of each network, in the order in which they run, those included that
            cannot be chosen; looked at for a `Pick` only.

    Returns:
        The chosen layers, in the order of `layers`.

    Raises:
        TypeError: `selection` is of another kind.
        ValueError: A name matches no layer, or nothing is chosen.
    """
    pool = list(layers)
    if selection is None:
        return pool
    chosen = _chosen(pool, selection, chains)
    if not chosen:
        known = ", ".join(layer.name for layer in pool)
        raise ValueError(
            f"layers: expected at least one nn.Linear of [{known}], got none from {selection}"
        )
    return chosen


def _chosen(
    pool: Sequence[Layer], selection: Selection, chains: Iterable[Sequence[Layer]]
) -> list[Layer]:
    if isinstance(selection, type):
        raise TypeError(
            f"layers: expected an object, got the class {selection.__name__} (call it to make one)"
        )
    if has_pick(selection):
        picked = {layer.name for chain in chains for layer in selection.pick(chain)}
        return [layer for layer in pool if layer.name in picked]
    if callable(selection):
        return [layer for layer in pool if selection(layer.name, layer.module)]
    if isinstance(selection, str) or not isinstance(selection, Sequence):
        raise TypeError(
            "layers: expected a list of names, a callable (name, linear) -> bool, or a choice such "
            f"as Top(2), got {type(selection).__name__}"
        )
    named: set[str] = set()
    for entry in selection:
        matched = [
            layer.name
            for layer in pool
            if layer.name == entry or layer.name.startswith(f"{entry}.")
        ]
        if not matched:
            known = ", ".join(layer.name for layer in pool)
            raise ValueError(f"layers: expected names among [{known}], got {entry!r}")
        named.update(matched)
    return [layer for layer in pool if layer.name in named]


def has_pick(selection: object) -> TypeGuard[Pick]:
    """Whether a selection goes by the place of a layer in its network."""
    return callable(getattr(selection, "pick", None))


def below(module: nn.Module) -> dict[str, nn.Linear]:
    """Every `nn.Linear` below `module` by its path in it, shared ones under each of their paths."""
    return {
        path: child
        for path, child in module.named_modules(remove_duplicate=False)
        if isinstance(child, nn.Linear)
    }
