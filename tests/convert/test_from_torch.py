"""from_torch against torch itself, and what it refuses."""

from __future__ import annotations

import copy
import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import sparseagent as sa
from sparseagent.reference import forward_float64

ACTIVATIONS = [
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.ELU,
    lambda: nn.ELU(0.3),
    nn.LeakyReLU,
    lambda: nn.LeakyReLU(0.2),
    nn.SiLU,
    nn.GELU,
    lambda: nn.GELU("tanh"),
    nn.SELU,
    nn.CELU,
    lambda: nn.CELU(0.5),
    nn.Softplus,
    nn.Softsign,
    nn.Mish,
    nn.ReLU6,
    lambda: nn.Hardtanh(-0.4, 0.3),
    lambda: nn.Hardtanh(-1e6, 0.5),
    nn.Identity,
    lambda: nn.Dropout(0.5),
    nn.Flatten,
]


def random_chain(seed: int) -> nn.Sequential:
    """A nested Sequential with pruned Linears, runs of activations and modules that do nothing."""
    choose = random.Random(seed)
    torch.manual_seed(seed)
    widths = [choose.randint(1, 9) for _ in range(choose.randint(2, 5))]
    modules: list[nn.Module] = []
    if choose.random() < 0.3:
        modules.append(choose.choice([nn.Tanh, nn.Flatten, nn.Sigmoid])())
    for width, out in itertools.pairwise(widths):
        linear = nn.Linear(width, out, bias=choose.random() < 0.8)
        with torch.no_grad():
            linear.weight.mul_(torch.rand(out, width) > choose.choice([0.0, 0.5, 0.9]))
        modules.append(linear)
        modules += [choose.choice(ACTIVATIONS)() for _ in range(choose.choice([0, 1, 1, 2]))]
    while len(modules) > 2 and choose.random() < 0.6:
        start = choose.randrange(len(modules) - 1)
        modules[start : start + 2] = [nn.Sequential(*modules[start : start + 2])]
    return nn.Sequential(*modules).eval()


def inputs(module: nn.Module, count: int = 33) -> torch.Tensor:
    first = next(part for part in module.modules() if isinstance(part, nn.Linear))
    return 2 * torch.randn(count, first.in_features, generator=torch.Generator().manual_seed(1))


def assert_same_outputs(module: nn.Module, policy: sa.SparsePolicy) -> None:
    x = inputs(module)
    expected = module(x).detach().numpy()
    np.testing.assert_allclose(
        forward_float64(policy.program, x.numpy()), expected, rtol=0, atol=3e-6
    )
    compiled = sa.compile(policy, tune=0)(x.numpy())
    np.testing.assert_allclose(compiled, expected, rtol=0, atol=3e-6)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_nested_chains_give_torchs_outputs(seed: int) -> None:
    module = random_chain(seed)
    assert_same_outputs(module, sa.from_torch(module))


def test_layers_of_a_plain_chain() -> None:
    module = nn.Sequential(
        nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 5), nn.Linear(5, 2, bias=False), nn.Tanh()
    )
    policy = sa.from_torch(module)
    assert [layer.activation for layer in policy.layers] == ["leaky_relu", "identity", "tanh"]
    assert [layer.alpha for layer in policy.layers] == [0.2, 0.0, 0.0]
    assert [layer.shape for layer in policy.layers] == [(4, 3), (5, 4), (2, 5)]
    np.testing.assert_array_equal(policy.layers[2].bias, np.zeros(2, np.float32))
    assert policy.observation.shape == (3,)
    assert policy.observation.is_identity
    assert isinstance(policy.head, sa.Raw)


def test_a_bare_linear_is_a_chain() -> None:
    module = nn.Linear(3, 2)
    policy = sa.from_torch(module)
    np.testing.assert_array_equal(policy.layers[0].dense_weight(), module.weight.detach().numpy())
    assert_same_outputs(module, policy)


def test_pruned_weights_keep_exactly_their_zeros() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 7))
    with torch.no_grad():
        module[0].weight.mul_(torch.rand(40, 30) > 0.7)
        module[0].weight[2, 3] = -0.0
    policy = sa.from_torch(module, order="ascending")
    assert policy.metadata["removed_neurons"] == [0]
    csr = policy.layers[0].weight
    assert isinstance(csr, sa.CSR)
    assert csr.is_ascending()
    weight = module[0].weight.detach().numpy()
    assert csr.nnz == np.count_nonzero(weight)
    np.testing.assert_array_equal(csr.to_dense(), weight)
    dense = policy.layers[1].weight
    assert isinstance(dense, np.ndarray)
    np.testing.assert_array_equal(dense, module[2].weight.detach().numpy())
    assert policy.metadata["sparsity"] == [1 - csr.nnz / 1200, 0.0]
    assert policy.metadata["source_shapes"] == [[40, 30], [7, 40]]


def test_one_module_used_twice_acts_twice() -> None:
    torch.manual_seed(0)
    activation = nn.Tanh()
    module = nn.Sequential(nn.Linear(3, 6), activation, nn.Linear(6, 2), activation)
    policy = sa.from_torch(module)
    assert [layer.activation for layer in policy.layers] == ["tanh", "tanh"]
    assert_same_outputs(module, policy)


def test_activations_that_do_not_pair_up_are_ops_of_their_own() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Tanh(), nn.Linear(3, 4), nn.ReLU(), nn.Sigmoid(), nn.Linear(4, 2))
    policy = sa.from_torch(module)
    assert [op.kind for op in policy.program.ops] == ["observe", "map", "linear", "map", "linear"]
    assert [layer.activation for layer in policy.layers] == ["relu", "identity"]
    assert_same_outputs(module, policy)


def test_hardtanh_reaches_its_bounds_exactly() -> None:
    linear = nn.Linear(1, 1)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.fill_(0.25)
    policy = sa.from_torch(nn.Sequential(linear, nn.Hardtanh(-2.0, 1.5)))
    x = np.array([[-1e6], [-2.25], [0.5], [1.25], [1e6]], np.float32)
    y = sa.compile(policy, tune=0)(x)
    np.testing.assert_array_equal(y.ravel(), np.array([-2, -2, 0.75, 1.5, 1.5], np.float32))


@pytest.mark.parametrize(
    ("low", "high"),
    [(-0.1, 0.7), (5, 7), (-1e6, 1e6), (-1e6, 0.5), (-20, 2), (10, 1e4), (-1e30, 1e30)],
)
def test_hardtanh_is_exact(low: float, high: float) -> None:
    span = np.geomspace(1e-3, 1e8, 500)
    x = np.concatenate((-span, [0.0, np.inf, -np.inf, np.nan], span)).astype(np.float32)[:, None]
    module = nn.Sequential(unit_linear(), nn.Hardtanh(low, high))
    y = sa.compile(sa.from_torch(module), tune=0)(x)
    np.testing.assert_array_equal(y, module(torch.from_numpy(x)).detach().numpy())


def unit_linear() -> nn.Linear:
    """Gives its input."""
    linear = nn.Linear(1, 1)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.zero_()
    return linear


def test_prune_masks_are_applied_even_before_the_next_forward() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    prune.random_unstructured(module[0], "weight", 0.5)
    prune.l1_unstructured(module[0], "weight", 0.3)
    prune.random_unstructured(module[2], "bias", 1)
    with torch.no_grad():
        module[0].weight_orig.add_(1.0)  # as an optimizer step would; module.weight is now stale
    policy = sa.from_torch(module)
    assert 0 < policy.layers[0].sparsity < 1
    assert_same_outputs(module, policy)


def test_parametrizations_are_applied_and_left_alone() -> None:
    torch.manual_seed(0)
    linear = parametrizations.spectral_norm(nn.Linear(6, 6))
    module = nn.Sequential(linear, nn.Tanh(), nn.Linear(6, 2)).train()
    state = copy.deepcopy(module.state_dict())
    policy = sa.from_torch(module)
    assert all(part.training for part in module.modules())
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)
    assert_same_outputs(module.eval(), policy)


def test_sparse_layouts_are_read() -> None:
    linear = nn.Linear(4, 3)
    with torch.no_grad():
        linear.weight.mul_(torch.tensor([[1.0, 0.0, 1.0, 0.0], [0, 1, 0, 1], [1, 0, 0, 0]]))
    expected = linear.weight.detach().numpy()
    linear.weight = nn.Parameter(linear.weight.detach().to_sparse())
    np.testing.assert_array_equal(sa.from_torch(linear).layers[0].dense_weight(), expected)


def test_the_policy_does_not_share_memory_with_the_module() -> None:
    module = nn.Linear(3, 2)
    policy = sa.from_torch(module)
    before = policy.layers[0].dense_weight().copy()
    with torch.no_grad():
        module.weight.zero_()
    np.testing.assert_array_equal(policy.layers[0].dense_weight(), before)


def test_observation_head_metadata_and_self_test(tmp_path: Any) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    observation = sa.Observation.normalise(
        np.arange(6.0).reshape(2, 3), np.full((2, 3), 4.0), eps=1e-8, clip=10.0
    )
    head = sa.clip_to([-1, -1], [1, 2])
    policy = sa.from_torch(
        module, observation=observation, head=head, metadata={"environment": "Toy-v0"}
    )
    assert policy.head is head
    assert policy.metadata["environment"] == "Toy-v0"
    assert policy.metadata["versions"]["torch"] == torch.__version__
    assert policy.golden is not None
    assert policy.golden.observations.shape == (8, 2, 3)
    normalised = observation.apply(policy.golden.observations)
    expected = module(torch.from_numpy(normalised)).detach().numpy()
    np.testing.assert_allclose(policy.golden.outputs, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(policy.golden.actions, head.apply(policy.golden.outputs))
    policy.save(tmp_path / "toy.safetensors")
    loaded = sa.load(tmp_path / "toy.safetensors")
    assert dict(loaded.metadata) == dict(policy.metadata)
    np.testing.assert_array_equal(loaded.golden.outputs, policy.golden.outputs)  # type: ignore[union-attr]


class Renamed(nn.Linear):
    """A Linear under another name."""


class Own(nn.Module):
    """A net of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)


def test_a_subclass_without_a_forward_of_its_own_is_what_it_derives_from() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(Renamed(3, 2), nn.Tanh())
    assert_same_outputs(module, sa.from_torch(module))


def hooked() -> nn.Module:
    module = nn.Linear(3, 3)
    module.register_forward_hook(lambda module, args, output: 2 * output)
    return module


def double_hooked() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    module[1].register_forward_pre_hook(lambda module, args: None)
    return module


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (
            nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Conv2d(1, 1, 3)),
            TypeError,
            r"module '2' \(Conv2d\)",
        ),
        (Own(), TypeError, r"module '' \(Own\)"),
        (nn.Sequential(hooked()), ValueError, r"module '0' \(Linear\).*forward hooks.*lambda"),
        (double_hooked(), ValueError, r"module '1' \(Tanh\).*forward hooks"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(3, 3)), ValueError, r"module '0' \(Flatten\)"),
        (
            nn.Sequential(nn.Linear(3, 3), nn.Hardtanh(-1e300, 1.0)),
            ValueError,
            r"module '1' \(Hardtanh\): clamp: low, high: expected finite bounds, got -inf and 1.0",
        ),
        (nn.Sequential(nn.ReLU()), ValueError, "at least one Linear"),
        (nn.Sequential(), ValueError, "at least one Linear"),
        (
            nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 2)),
            ValueError,
            r"module '2' \(Linear\): linear: expected 4 inputs, got 5",
        ),
        (nn.Linear(3, 3).double(), TypeError, r"weight: expected float32, got torch.float64"),
        (nn.Linear(3, 3).half(), TypeError, r"weight: expected float32, got torch.float16"),
        (nn.Linear(3, 3).bfloat16(), TypeError, r"expected float32, got torch.bfloat16"),
        (nn.Linear(3, 3, device="meta"), ValueError, r"module '' \(Linear\): weight.*meta"),
    ],
)
def test_what_cannot_be_represented_is_named(
    module: nn.Module, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sa.from_torch(module)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("attribute", ["weight", "bias"])
def test_numbers_that_are_not_finite_are_named(attribute: str, value: float) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        getattr(module[2], attribute)[0] = value
    with pytest.raises(ValueError, match=rf"'2' \(Linear\): linear: {attribute}: expected finite"):
        sa.from_torch(module)


def test_a_parametrization_that_breaks_the_dtype_is_named() -> None:
    class Cast(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.double()

    linear = nn.Linear(3, 3)
    parametrize.register_parametrization(linear, "weight", Cast(), unsafe=True)
    with pytest.raises(TypeError, match=r"\(ParametrizedLinear\): weight: expected float32"):
        sa.from_torch(linear)


def test_arguments_of_a_wrong_type_are_named() -> None:
    with pytest.raises(TypeError, match=r"module: expected a torch.nn.Module, got dict"):
        sa.from_torch({})
    with pytest.raises(TypeError, match="observation: expected an instance of Observation, got"):
        sa.from_torch(nn.Linear(3, 3), observation=(3,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"head: expected an instance of .*, got 'argmax'"):
        sa.from_torch(nn.Linear(3, 3), head="argmax")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"module '' \(Linear\): linear: expected 4 inputs, got 3"):
        sa.from_torch(nn.Linear(3, 3), observation=sa.Observation((4,)))
    with pytest.raises(ValueError, match="head: expected bounds for 3 outputs, got 2"):
        sa.from_torch(nn.Linear(3, 3), head=sa.clip_to([0, 0], [1, 1]))
