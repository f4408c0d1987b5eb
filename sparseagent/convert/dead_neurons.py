"""Removal of hidden neurons that cannot influence the output, in NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.csr import CSR, Float64
from sparseagent.policy import Layer, SparsePolicy

#: Heights of the blocks that have a kernel, highest first.
BLOCK_ROWS = (16, 8, 4)

Bools = NDArray[np.bool_]
Activate = Callable[[str, float, Float64], Float64]


def remove_dead_neurons(policy: SparsePolicy) -> SparsePolicy:
    """The same policy without hidden neurons that do nothing.

    A neuron without outgoing weights is dropped. A neuron without incoming weights gives the
    constant `activation(bias)`; it is folded into the next layer's bias, in float64 rounded once
    at the end, and dropped. Both are repeated until nothing changes. Inputs and outputs stay. A
    hidden layer that loses every neuron keeps one without weights, so that the net keeps its
    depth. Neurons that were pruned in blocks go as whole blocks or not at all, because rows that
    share their columns run faster together. What remains keeps its values and its summation order.

    For finite activations the outputs change by no more than the rounding of the folded biases;
    a zero weight that would have turned an Inf into a NaN no longer does so.

    Args:
        policy: any policy; a dense layer's zeros count as absent weights.

    Returns:
        The policy with `metadata["removed_neurons"]`, the number removed from each hidden layer;
        its golden self-test is dropped, for the bits of the outputs may differ.
    """
    from sparseagent.reference import activate

    alive, bias = _prune_to_fixed_point(policy.layers, activate)
    shown = [keep if keep.any() else _first_only(keep.size) for keep in alive]
    layers = tuple(
        _cut(layer, bias[number], _Side(alive[number], shown[number]), _Side(left, seen))
        for number, (layer, left, seen) in enumerate(
            zip(policy.layers, *_inputs_first(policy, alive, shown), strict=True)
        )
    )
    removed = [int(keep.size - keep.sum()) for keep in shown[:-1]]
    return replace(policy, layers=layers, golden=None).with_metadata(removed_neurons=removed)


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of a matrix: which features live, and which are kept (a placeholder lives not)."""

    alive: Bools
    shown: Bools


def _inputs_first(
    policy: SparsePolicy, alive: list[Bools], shown: list[Bools]
) -> tuple[list[Bools], list[Bools]]:
    """Per layer the marks of the features that it takes: the inputs, then each layer's outputs."""
    everything = np.ones(policy.input_size, np.bool_)
    return [everything, *alive[:-1]], [everything, *shown[:-1]]


def _first_only(size: int) -> Bools:
    mark = np.zeros(size, np.bool_)
    mark[0] = True
    return mark


def _prune_to_fixed_point(
    layers: tuple[Layer, ...], activate: Activate
) -> tuple[list[Bools], list[Float64]]:
    """Mark the living neurons of every layer, `[out]`, and fold constants into the biases."""
    weights = [layer.dense_weight() for layer in layers]
    bias = [layer.bias.astype(np.float64) for layer in layers]
    alive = [np.ones(layer.shape[0], np.bool_) for layer in layers]
    inputs = np.ones(layers[0].shape[1], np.bool_)
    sizes = [_block_rows(layer) for layer in layers]
    while True:
        before = sum(int(keep.sum()) for keep in alive)
        for number, layer in enumerate(layers[:-1]):
            keep, left = alive[number], inputs if number == 0 else alive[number - 1]
            constant = ~(weights[number][:, left] != 0).any(axis=1)
            used = (weights[number + 1][alive[number + 1]] != 0).any(axis=0)
            starts = np.arange(0, keep.size, sizes[number])
            # A neuron that stays for the sake of its block must not be folded as well.
            needed = np.logical_or.reduceat(used & ~constant, starts)
            going = keep & ~np.repeat(needed, sizes[number])[: keep.size]
            folded = going & constant
            if folded.any():
                value = activate(layer.activation, layer.alpha, bias[number][folded])
                following = weights[number + 1][:, folded].astype(np.float64)
                bias[number + 1] = bias[number + 1] + following @ value
            keep &= ~going
        if sum(int(keep.sum()) for keep in alive) == before:
            return alive, bias


def _block_rows(layer: Layer) -> int:
    """Rows of the blocks in which a layer was pruned; 1 for no blocks."""
    csr = layer.weight
    if not isinstance(csr, CSR) or csr.nnz in (0, csr.shape[0] * csr.shape[1]):
        return 1
    return next((n for n in BLOCK_ROWS if csr.shape[0] >= n and csr.in_blocks(n)), 1)


def _cut(layer: Layer, bias: Float64, rows: _Side, columns: _Side) -> Layer:
    """The layer without the rows and columns that are not shown; placeholders lose all weights."""
    kept_bias = np.where(rows.alive, bias, 0.0)[rows.shown].astype(np.float32)
    placeholder = bool((rows.alive != rows.shown).any() or (columns.alive != columns.shown).any())
    if isinstance(layer.weight, CSR):
        weight: Any = _cut_csr(layer.weight, rows, columns)
    else:
        weight = layer.weight * np.outer(rows.alive, columns.alive) if placeholder else layer.weight
        weight = weight[rows.shown][:, columns.shown]
        if placeholder:
            weight = CSR.from_dense(weight)
    return replace(layer, weight=weight, bias=kept_bias)


def _cut_csr(weight: CSR, rows: _Side, columns: _Side) -> Any:
    """Drop rows, columns and their entries; the stored order of what stays does not change."""
    row, column = weight.rows(), weight.indices
    keep = rows.alive[row] & columns.alive[column]
    run = np.repeat(np.arange(weight.indptr.size - 1), np.diff(weight.indptr))
    counts = np.bincount(run[keep], minlength=weight.indptr.size - 1)
    counts = counts.reshape(-1, weight.runs)[rows.shown].ravel()
    number = np.cumsum(columns.shown) - 1
    cut = CSR(
        (int(rows.shown.sum()), int(columns.shown.sum())),
        np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        number[column[keep]].astype(np.int32),
        weight.values[keep],
        weight.runs,
    )
    full = cut.nnz == cut.shape[0] * cut.shape[1]
    return cut.to_dense() if full and cut.is_ascending() else cut
