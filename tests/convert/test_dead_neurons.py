"""Dead neurons: hand-checked cases, and random pruned nets against what they were before."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sparseagent as sa
from sparseagent.convert.dead_neurons import remove_dead_neurons
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.reference import forward_exact, forward_float64


def layer(
    weight: list[list[float]], bias: list[float], activation: str = "tanh", *, dense: bool = False
) -> sa.Layer:
    matrix = np.array(weight, np.float32)
    stored = matrix if dense else sa.CSR.from_dense(matrix)
    return sa.Layer(stored, np.array(bias, np.float32), activation)


def policy_of(*layers: sa.Layer) -> sa.SparsePolicy:
    return sa.SparsePolicy(sa.chain(layers, sa.Observation((layers[0].shape[1],))))


def assert_weights(layer: sa.Layer, weight: list[list[float]], bias: list[float]) -> None:
    np.testing.assert_array_equal(layer.dense_weight(), np.array(weight, np.float32))
    np.testing.assert_array_equal(layer.bias, np.array(bias, np.float32))


@pytest.mark.parametrize("dense", [False, True])
def test_a_neuron_without_outgoing_weights_goes(dense: bool) -> None:
    policy = policy_of(
        layer([[1, 2], [3, 4], [5, 6]], [0.1, 0.2, 0.3], dense=dense),
        layer([[7, 0, 8], [9, 0, 1]], [0.5, 0.6], "identity", dense=dense),
    )
    cut = remove_dead_neurons(policy)
    assert_weights(cut.layers[0], [[1, 2], [5, 6]], [0.1, 0.3])
    assert_weights(cut.layers[1], [[7, 8], [9, 1]], [0.5, 0.6])
    assert cut.metadata["removed_neurons"] == [1]
    x = np.array([[0.3, -0.4]], np.float32)
    np.testing.assert_array_equal(forward_exact(cut.program, x), forward_exact(policy.program, x))


def test_blocks_go_as_a_whole_or_not_at_all() -> None:
    first = np.zeros((12, 5), np.float32)
    first[0:4, [0, 2]] = 1.5
    first[4:8, [1]] = -2.5
    first[8:12, [3, 4]] = 0.5
    second = np.zeros((2, 12), np.float32)
    second[:, [0, 1, 2, 9]] = 1  # neuron 3, all of the second block, and three of the third
    policy = policy_of(
        sa.Layer(sa.CSR.from_dense(first), np.ones(12, np.float32), "relu"),
        sa.Layer(sa.CSR.from_dense(second), np.ones(2, np.float32)),
    )
    cut = remove_dead_neurons(policy)
    assert cut.metadata["removed_neurons"] == [4]
    weight = cut.layers[0].weight
    assert isinstance(weight, sa.CSR)
    assert weight.in_blocks(4)
    np.testing.assert_array_equal(weight.to_dense(), first[[0, 1, 2, 3, 8, 9, 10, 11]])
    x = np.array([[0.3, -0.4, 0.5, 0.6, -0.7]], np.float32)
    np.testing.assert_array_equal(forward_exact(cut.program, x), forward_exact(policy.program, x))


@pytest.mark.parametrize("live", [True, False])
def test_a_constant_in_a_block_is_folded_only_if_the_block_goes(live: bool) -> None:
    """Zeros may be stored (a mask keeps them), so that some rows of a block are constant."""
    random = np.random.default_rng(3)
    mask = np.zeros((8, 5), np.bool_)
    mask[:4, [0, 2]] = mask[4:, [1, 3]] = True
    first = np.where(mask, random.standard_normal((8, 5)), 0).astype(np.float32)
    first[1:4] = 0
    second = random.standard_normal((2, 8)).astype(np.float32)
    if not live:
        second[:, 0] = 0
    policy = policy_of(
        sa.Layer(sa.CSR.from_dense(first, mask), np.ones(8, np.float32), "tanh"),
        sa.Layer(second, np.ones(2, np.float32)),
    )
    cut = remove_dead_neurons(policy)
    assert cut.metadata["removed_neurons"] == [0 if live else 4]
    x = random.standard_normal((16, 5)).astype(np.float32)
    np.testing.assert_allclose(
        forward_float64(cut.program, x), forward_float64(policy.program, x), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dense", [False, True])
def test_a_constant_neuron_is_folded_into_the_next_bias(dense: bool) -> None:
    policy = policy_of(
        layer([[1, 2], [0, 0]], [0.1, 0.7], dense=dense),
        layer([[3, 2], [4, -5]], [0.5, 0.6], "identity", dense=dense),
    )
    cut = remove_dead_neurons(policy)
    constant = math.tanh(float(np.float32(0.7)))
    half, bias = 0.5, float(np.float32(0.6))
    assert_weights(cut.layers[0], [[1, 2]], [0.1])
    assert_weights(cut.layers[1], [[3], [4]], [half + 2 * constant, bias - 5 * constant])
    assert cut.metadata["removed_neurons"] == [1]


def test_removal_runs_on_to_a_fixed_point() -> None:
    # Neuron 1 of the first layer is constant; without it neuron 0 of the second is constant too,
    # which leaves neuron 0 of the first without outgoing weights.
    policy = policy_of(
        layer([[1, 1], [0, 0], [2, 2]], [0, 0.5, 0], "relu"),
        layer([[0, 4, 0], [0, 0, 3]], [1, 2], "relu"),
        layer([[5, 6]], [7], "identity"),
    )
    cut = remove_dead_neurons(policy)
    assert cut.metadata["removed_neurons"] == [2, 1]
    assert_weights(cut.layers[0], [[2, 2]], [0])
    assert_weights(cut.layers[1], [[3]], [2])
    assert_weights(cut.layers[2], [[6]], [7 + 5 * (1 + 4 * 0.5)])


def test_inputs_and_outputs_stay() -> None:
    policy = policy_of(
        layer([[1, 0, 0], [2, 0, 0]], [1, 1]),
        layer([[1, 1], [0, 0], [2, 2]], [0, 3, 0], "tanh"),
    )
    cut = remove_dead_neurons(policy)
    assert (cut.input_size, cut.output_size) == (3, 3)
    assert cut.metadata["removed_neurons"] == [0]
    assert cut.layers == policy.layers or all(
        np.array_equal(a.dense_weight(), b.dense_weight())
        for a, b in zip(cut.layers, policy.layers, strict=True)
    )


def test_a_net_cut_off_from_its_input_keeps_its_depth_and_its_constant() -> None:
    policy = policy_of(
        layer([[1, 1], [1, 2]], [0, 0], "relu"),
        layer([[0, 0], [0, 0]], [0.5, 0.25], "relu"),
        layer([[1, 2], [3, 4]], [0, 1], "relu"),
        layer([[1, 1]], [0.5], "identity"),
    )
    cut = remove_dead_neurons(policy)
    assert [part.shape for part in cut.layers] == [(1, 2), (1, 1), (1, 1), (1, 1)]
    assert cut.nnz == 0
    assert cut.metadata["removed_neurons"] == [1, 1, 1]
    expected = (0.5 + 2 * 0.25) + (1 + 3 * 0.5 + 4 * 0.25) + 0.5
    x = np.array([[9, -9], [0, 1]], np.float32)
    np.testing.assert_array_equal(
        forward_exact(cut.program, x), np.full((2, 1), expected, np.float32)
    )
    again = remove_dead_neurons(cut)
    assert [part.shape for part in again.layers] == [part.shape for part in cut.layers]


def test_an_output_layer_without_weights_leaves_a_constant() -> None:
    policy = policy_of(
        layer([[1, 2], [3, 4]], [0, 0], dense=True),
        layer([[0, 0], [0, 0]], [0.5, 1.5], "identity"),
    )
    cut = remove_dead_neurons(policy)
    assert [part.shape for part in cut.layers] == [(1, 2), (2, 1)]
    assert cut.nnz == 0
    np.testing.assert_array_equal(
        forward_exact(cut.program, np.ones((1, 2), np.float32)), [[0.5, 1.5]]
    )


def test_the_stored_order_and_runs_of_what_stays_do_not_change() -> None:
    csr = sa.CSR(
        (2, 4),
        np.array([0, 2, 3, 4, 6], np.int32),
        np.array([3, 0, 1, 2, 1, 0], np.int32),
        np.arange(1, 7).astype(np.float32),
        runs=2,
    )
    first = layer([[1], [1], [0], [1]], [0, 0, 0.5, 0], "identity")
    policy = policy_of(first, sa.Layer(csr, np.zeros(2, np.float32)))
    cut = remove_dead_neurons(policy).layers[1].weight
    assert isinstance(cut, sa.CSR)
    assert cut.runs == 2
    np.testing.assert_array_equal(cut.indptr, [0, 2, 3, 3, 5])
    np.testing.assert_array_equal(cut.indices, [2, 0, 1, 1, 0])
    np.testing.assert_array_equal(cut.values, [1, 2, 3, 5, 6])
    np.testing.assert_array_equal(remove_dead_neurons(policy).layers[1].bias, [0, 2])


def test_what_becomes_full_becomes_dense() -> None:
    policy = policy_of(
        layer([[1, 2], [0, 0]], [0, 0], "relu"), layer([[1, 0], [2, 0]], [0, 0], "identity")
    )
    cut = remove_dead_neurons(policy)
    assert all(isinstance(part.weight, np.ndarray) for part in cut.layers)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    sparsity=st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]),
)
def test_random_pruned_nets_keep_their_outputs(seed: int, activation: str, sparsity: float) -> None:
    random = np.random.default_rng(seed)
    widths = random.integers(1, 12, random.integers(2, 6))
    layers = []
    for width, out in itertools.pairwise(widths):
        weight = random.standard_normal((out, width)) * (random.random((out, width)) >= sparsity)
        stored = weight.astype(np.float32)
        layers.append(
            sa.Layer(
                stored if random.random() < 0.3 else sa.CSR.from_dense(stored),
                random.standard_normal(out).astype(np.float32),
                activation,
                ACTIVATIONS[activation],
            )
        )
    policy = policy_of(*layers)
    cut = remove_dead_neurons(policy)
    x = random.standard_normal((16, widths[0])).astype(np.float32)
    before, after = forward_float64(policy.program, x), forward_float64(cut.program, x)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    removed = cut.metadata["removed_neurons"]
    assert [a.shape[0] - b.shape[0] for a, b in zip(layers, cut.layers, strict=True)] == [
        *removed,
        0,
    ]
    for number, part in enumerate(cut.layers[:-1]):
        if part.shape[0] > 1:  # a placeholder may stand alone, dead
            assert (part.dense_weight() != 0).any(axis=1).all()
            assert (cut.layers[number + 1].dense_weight() != 0).any(axis=0).all()


def test_against_torch() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 3))
    )
    with torch.no_grad():
        for number in (0, 2, 4):
            weight = module[number].weight
            weight.mul_(torch.rand(weight.shape) > 0.97)
    policy = sa.from_torch(module)
    assert min(policy.metadata["removed_neurons"]) > 10
    assert policy.metadata["source_shapes"] == [[64, 10], [64, 64], [3, 64]]
    x = torch.randn(200, 10)
    np.testing.assert_allclose(
        sa.compile(policy, tune=0)(x.numpy()), module(x).detach().numpy(), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("affine", [False, True])
def test_neurons_behind_bounds_go_as_well(affine: bool) -> None:
    """Linear -> ReLU6 -> Linear: one neuron nobody reads, one constant beyond the bound."""
    torch.manual_seed(0)
    between = [nn.Hardtanh(-0.5, 6.0)]
    if affine:
        between.append(nn.BatchNorm1d(5).eval())
    module = nn.Sequential(nn.Linear(3, 5), *between, nn.Linear(5, 2))
    with torch.no_grad():
        module[-1].weight[:, 1] = 0
        module[0].weight[3] = 0
        module[0].bias[3] = 9
    policy = sa.from_torch(module, order="ascending")
    assert policy.metadata["removed_neurons"] == [2]
    assert [layer.shape for layer in policy.layers] == [(3, 3), (2, 3)]
    x = torch.randn(6, 3)
    got = sa.compile(policy, tune=0)(x.numpy())
    np.testing.assert_allclose(got, module(x).detach().numpy(), atol=2e-6)


def test_neurons_stay_that_an_output_shows_behind_a_map() -> None:
    class Shown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = self.first(x).clamp(-0.1, 0.1)
            return self.second(h), h

    module = Shown()
    with torch.no_grad():
        module.second.weight[:, 1] = 0
    assert sa.from_torch(module).metadata["removed_neurons"] == []
