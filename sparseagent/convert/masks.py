"""Masks that say which weights exist, instead of which ones happen not to be zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.csr import CSR, Float32

Masks = Mapping[str, NDArray[np.bool_]]


def read_masks(masks: Any, prefix: str = "") -> Masks | None:
    """The masks that a caller gave, as arrays.

    Args:
        masks: None; bool masks `[out, in]` by the name of the weight; or what has such a mapping as
            its attribute `masks`, such as a `Sparsifier`.
        prefix: put before the names.

    Raises:
        TypeError: something else.
    """
    if masks is None:
        return None
    given = getattr(masks, "masks", masks)
    if not isinstance(given, Mapping):
        raise TypeError(
            f"masks: expected a Sparsifier or a mapping of masks, got {type(masks).__name__}"
        )
    return {f"{prefix}{name}": _array(name, mask) for name, mask in given.items()}


def structured(name: str, weight: Float32, mask: NDArray[np.bool_] | None) -> CSR | Float32:
    """`weight` with the structure of its mask: entries that are kept are stored, zero or not.

    Args:
        name: of the weight, for messages.
        weight: `[out, in]`.
        mask: `[out, in]`, True = kept; None for a layer that is not pruned.

    Raises:
        ValueError: the shapes differ, or a weight is not zero though its mask says that it is.
    """
    if mask is None:
        return weight
    if mask.shape != weight.shape:
        raise ValueError(
            f"masks: {name}: expected the shape {list(weight.shape)}, got {list(mask.shape)}"
        )
    wrong = int(np.count_nonzero(weight[~mask]))
    if wrong:
        raise ValueError(
            f"masks: {name}: expected zeros where the mask is False, got {wrong} other weights; "
            "call Sparsifier.apply() first, or pass the masks of this module"
        )
    return weight if mask.all() else CSR.from_dense(weight, mask)


def _array(name: object, mask: Any) -> NDArray[np.bool_]:
    array = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    if array.dtype != np.bool_ or array.ndim != 2:
        raise TypeError(
            f"masks: {name}: expected bool [out, in], got {array.dtype} {list(array.shape)}"
        )
    return array
