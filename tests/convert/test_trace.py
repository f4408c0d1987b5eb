"""Networks however they are written: tracing against torch itself, and refusals that name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import sparseagent as sa
from sparseagent.convert.torch_rules import ACTIVATION_MODULES
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.program import Program
from sparseagent.reference import forward_float64


def kinds(policy: sa.SparsePolicy) -> list[str]:
    return [op.kind for op in policy.program.ops]


def batch(size: int, rows: int = 9, seed: int = 1) -> torch.Tensor:
    return 1.5 * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))


def outputs(policy: sa.SparsePolicy, x: Any) -> dict[str, np.ndarray[Any, Any]]:
    program = policy.program
    return {
        name: forward_float64(Program(program.slots, program.ops, {name: span}), x)
        for name, span in program.outputs.items()
    }


class Shallow(nn.Module):
    """A network of two Linears that is written as a function says."""

    def __init__(self, function: Callable[..., Any], size: int = 6, out: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(size, 6), nn.Linear(6, out)
        self.norm, self.batch = nn.LayerNorm(6), nn.BatchNorm1d(6)
        self.rms = nn.RMSNorm(6, eps=1e-6)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        self.batch.running_mean.normal_()
        self.batch.running_var.uniform_(0.5, 2)
        self.register_buffer("mean", torch.randn(size))
        self.register_buffer("std", torch.rand(size) + 0.5)
        self.slope = nn.Parameter(torch.rand(6))
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def residual(net: Shallow, x: torch.Tensor) -> torch.Tensor:
    h = net.first(x)
    h = h + net.second(F.relu(net.norm(h)))
    return net.second(net.norm(h))


def branches(net: Shallow, x: torch.Tensor) -> torch.Tensor:
    h = torch.cat([torch.tanh(net.first(x)), x[:, 1:4], x[..., :1]], dim=-1)
    a, b, c = torch.split(h, [6, 3, 1], dim=1)
    return net.second(a * torch.sigmoid(net.first(x)) + c) - b.mean(dim=1, keepdim=True)


def on_shapes(net: Shallow, x: torch.Tensor) -> torch.Tensor:
    if x.dim() == 2 and x.shape[-1] == 6 and len(x.size()) == 2:
        x = x.view(x.size(0), 2, 3).transpose(1, 2).flatten(1)
    assert x.ndim == 2
    return net.second(net.first(x).reshape(-1, 6))


def dueling(net: Shallow, x: torch.Tensor) -> torch.Tensor:
    h = F.relu(net.first(x))
    value, advantage = F.linear(h, net.first.weight[:1]), net.second(h)
    return value + advantage - advantage.mean(dim=1, keepdim=True)


def in_place(net: Shallow, x: torch.Tensor) -> torch.Tensor:
    h = net.first(x)
    h.relu_()
    h += 0.5
    h.mul_(2)
    F.elu(h, inplace=True)
    return net.second(h)


def layer_norm_by_hand(net: Shallow, x: torch.Tensor) -> torch.Tensor:
    h = net.first(x)
    h = h - h.mean(dim=-1, keepdim=True)
    return net.second(h / torch.sqrt((h * h).mean(dim=-1, keepdim=True) + 1e-3))


WRITTEN: dict[str, Callable[..., Any]] = {
    "functional": lambda net, x: net.second(F.relu(net.first(x))),
    "residual": residual,
    "branches": branches,
    "on shapes": on_shapes,
    "dueling": dueling,
    "in place": in_place,
    "normaliser": lambda net, x: net.first(((x - net.mean) / (net.std + 1e-2)).clamp(-2, 2)),
    "rms": lambda net, x: net.second(net.rms(net.first(x))),
    "batch norm": lambda net, x: net.second(net.batch(F.relu(net.batch(net.first(x))))),
    "matrices": lambda net, x: torch.addmm(net.slope, x @ net.first.weight.t(), net.second.weight),
    "operators": lambda net, x: (2 - net.first(x)) * 0.5 / net.slope.exp() + (-x) ** 2,
    "constants": lambda net, x: net.second(torch.cat([x[:, :5], torch.ones(x.shape[0], 1)], 1)),
    "softmax": lambda net, x: torch.softmax(net.first(x).view(-1, 2, 3), dim=-1).flatten(1),
    "atoms": lambda net, x: (F.softmax(net.first(x).view(-1, 2, 3), 2) * net.slope[:3]).sum(2),
    "quantiles": lambda net, x: net.first(x).view(-1, 3, 2).mean(dim=1),
    "rms by hand": lambda net, x: net.first(
        x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-4)
    ),
    "layer norm by hand": layer_norm_by_hand,
    "normalize": lambda net, x: F.normalize(net.first(x), dim=-1),
    "lerp": lambda net, x: torch.lerp(net.first(x), x, net.slope),
    "bounds": lambda net, x: torch.maximum(net.first(x), torch.tensor(0.1)).clamp_max(0.7),
    "glu by hand": lambda net, x: F.silu(net.first(x)) * net.second(x),
    "prelu": lambda net, x: F.prelu(net.first(x), net.slope),
    "hard": lambda net, x: F.hardswish(net.first(x)) + F.hardsigmoid(net.second(x)),
    "logsigmoid": lambda net, x: F.logsigmoid(net.first(x)) + F.tanhshrink(net.second(x)),
    "softplus": lambda net, x: F.softplus(net.first(x), beta=2.0),
    "stack": lambda net, x: torch.stack([net.first(x), x], dim=1)[:, 0, ::2],
    "unbind": lambda net, x: net.first(x).unbind(1)[2].unsqueeze(-1),
    "index": lambda net, x: net.first(x)[:, [5, 0, 0, 3]],
    "permute": lambda net, x: net.first(x).view(-1, 3, 2).permute(0, 2, 1).reshape(-1, 6),
    "broadcast": lambda net, x: net.first(x)[:, :1].expand(-1, 6) + net.second(x),
    "repeat": lambda net, x: net.first(x)[:, :2].repeat(1, 3).squeeze(),
    "sac": lambda net, x: -5 + 0.5 * 7 * (torch.tanh(net.first(x)) + 1),
    "dropout": lambda net, x: F.dropout(net.first(x), 0.3, training=net.training),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_a_network_however_it_is_written(written: str) -> None:
    net = Shallow(WRITTEN[written]).train()
    state = copy.deepcopy(net.state_dict())
    policy = sa.from_torch(net)
    assert all(module.training for module in net.modules())
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)
    expected = net.eval()(batch(6)).detach().numpy()
    got = sa.compile(policy, tune=0)(batch(6).numpy())
    np.testing.assert_allclose(got, expected.reshape(got.shape), rtol=0, atol=5e-6)
    assert policy.metadata["source_distance"] < 5e-6


FOLDED = {
    "dueling": ["observe", "linear", "linear"],
    "normaliser": ["observe", "linear"],
    "quantiles": ["observe", "linear"],
    "on shapes": ["observe", "linear", "linear"],
    "batch norm": ["observe", "linear", "linear"],
    "matrices": ["observe", "linear", "linear"],
    "rms by hand": ["observe", "norm", "linear"],
    "layer norm by hand": ["observe", "linear", "norm", "linear"],
}


@pytest.mark.parametrize("written", FOLDED)
def test_what_can_be_folded_is(written: str) -> None:
    assert kinds(sa.from_torch(Shallow(WRITTEN[written]))) == FOLDED[written]


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "identity"])
def test_every_activation_of_the_table(name: str) -> None:
    functional = {"gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}
    function = functional.get(name) or getattr(F, name)
    for act in (function, ACTIVATION_MODULES[name]()):
        policy = sa.from_torch(Shallow(lambda net, x, act=act: net.second(act(net.first(x)))))
        assert [layer.activation for layer in policy.layers] == [name, "identity"]
        assert policy.layers[0].alpha == ACTIVATIONS[name]


def test_several_outputs_have_names() -> None:
    def both(net: Shallow, x: torch.Tensor) -> Any:
        h = torch.tanh(net.first(x))
        mean, log_std = net.second(h).chunk(2, dim=-1)
        return {"mean": mean, "log_std": log_std.clamp(-20, 2), "latent": h}

    net = Shallow(both)
    policy = sa.from_torch(net)
    assert list(policy.program.outputs) == ["mean", "log_std", "latent"]
    assert policy.output_size == 3
    for name, expected in net.eval()(batch(6)).items():
        got = outputs(policy, batch(6).numpy())[name]
        np.testing.assert_allclose(got, expected.detach().numpy(), atol=3e-6)
    assert list(sa.from_torch(net, outputs=["latent"]).program.outputs) == ["latent"]
    with pytest.raises(ValueError, match=r"outputs: expected some of .*, got \['value'\]"):
        sa.from_torch(net, outputs=["value"])

    pair = Shallow(lambda net, x: (net.first(x), None, net.second(x)))
    assert list(sa.from_torch(pair).program.outputs) == ["action", "output_1"]
    named = sa.from_torch(pair, outputs=["mean", "value"])
    assert list(named.program.outputs) == ["mean", "value"]
    with pytest.raises(ValueError, match="outputs: expected 2 names"):
        sa.from_torch(pair, outputs=["mean"])


STEPS = {
    "state": sa.Observation((2, 2), "float64", np.ones(4), np.full(4, 2.0)),
    "goal": sa.Observation((2,)),
}


def test_a_dict_of_observations() -> None:
    class Goal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Linear(6, 3)

        def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
            parts = [observations["goal"], observations["state"].flatten(1)]
            return self.net(torch.cat(parts, dim=1))

    class Arguments(Goal):
        def forward(self, goal: torch.Tensor, state: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return super().forward({"goal": goal, "state": state})

    state = np.random.default_rng(0).standard_normal((5, 2, 2))
    goal = batch(2, 5).numpy()
    normal = torch.from_numpy(((state - 1) / 2).astype(np.float32))
    for net in (Goal(), Arguments()):
        policy = sa.from_torch(net, observation=STEPS)
        expected = Goal()({"goal": torch.from_numpy(goal), "state": normal}).detach().numpy()
        got = sa.compile(policy, tune=0)({"state": state, "goal": goal})
        np.testing.assert_allclose(got, expected, atol=2e-6)
        assert kinds(policy) == ["observe", "observe", "linear"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_methods_graphs_scripts_and_exports_come_in_by_the_same_door() -> None:
    net = Shallow(residual).eval()
    expected = sa.compile(sa.from_torch(net, order="ascending"), tune=0)(batch(6).numpy())

    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def act(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    doors = {
        "method": Agent().act,
        "graph": torch.fx.symbolic_trace(net),
        "scripted": torch.jit.trace(net, batch(6)),
        "exported": torch.export.export(net, (batch(6),)),
    }
    for name, given in doors.items():
        policy = sa.from_torch(given, order="ascending")
        got = sa.compile(policy, tune=0)(batch(6).numpy())
        np.testing.assert_array_equal(got, expected, err_msg=name)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_with_branches_on_shapes_and_flags() -> None:
    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(6, 6), nn.ELU(), nn.Dropout(0.5))
            self.norm = nn.BatchNorm1d(6)
            self.squash = True

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = self.norm(self.net(x))
            if self.squash:
                h = torch.tanh(h)
            mean, other = torch.chunk(h, 2, dim=1)
            return mean, torch.cat([other, x[:, :1]], dim=1)

    net = Scripted().eval()
    net.norm.running_mean.normal_()
    policy = sa.from_torch(torch.jit.script(net), observation=sa.Observation((6,)))
    for got, expected in zip(
        outputs(policy, batch(6).numpy()).values(), net(batch(6)), strict=True
    ):
        np.testing.assert_allclose(got, expected.detach().numpy(), atol=3e-6)


def test_masks_find_the_weights_of_a_functional_forward() -> None:
    net = Shallow(WRITTEN["functional"])
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) > 0.6
    with torch.no_grad():
        net.second.weight.mul_(mask)
    policy = sa.from_torch(net, masks={"second.weight": mask}, order="ascending")
    assert policy.layers[1].nnz == int(mask.sum())
    twice = nn.Sequential(nn.Linear(6, 6), nn.Sequential(net))
    policy = sa.from_torch(twice, masks={"1.0.second.weight": mask}, order="ascending")
    assert policy.layers[2].nnz == int(mask.sum())


def test_trained_sparsity_is_told_from_what_is_left() -> None:
    """The quantiles' matrix is sparse; their mean keeps a weight that any of them kept."""
    net = Shallow(WRITTEN["quantiles"])
    with torch.no_grad():
        net.first.weight.mul_(torch.eye(6))
    policy = sa.from_torch(net)
    assert policy.metadata["source_shapes"] == [[6, 6]]
    assert policy.metadata["sparsity"] == [pytest.approx(5 / 6)]
    assert policy.layers[0].shape == (2, 6)
    assert policy.nnz == 6
    told = "trained: 6 of 36 weights, sparsity 0.8333"
    assert told in policy.summary()
    assert told in sa.compile(policy, tune=0).explain()
    assert not sa.from_torch(Shallow(WRITTEN["functional"])).trained


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "exp": (lambda net, x: net.first(x).exp(), r"'' \(Shallow\): exp: not representable as ops"),
    "upsampling": (
        lambda net, x: F.conv_transpose1d(x[:, None], torch.ones(1, 1, 2)),
        r"\(Shallow\): conv_transpose1d: not representable",
    ),
    "if": (lambda net, x: net.first(x) if x.sum(1) > 0 else x, "a decision on computed numbers"),
    "loop": (lambda net, x: [net.first(row) for row in x], "a loop over the batch"),
    "batch mean": (lambda net, x: net.first(x).mean(), "mean: expected dim|takes the batch"),
    "over rows": (lambda net, x: net.first(x).mean(0), "expected one of the row, got the batch's"),
    "part": (lambda net, x: net.first(x)[0], "expected the whole batch"),
    "mixed rows": (lambda net, x: net.first(x).view(2, -1), "the batch to stay the first axis"),
    "root": (lambda net, x: x / (x * x).mean(1, keepdim=True).sqrt().tanh(), "own spread"),
    "roots": (lambda net, x: (x * x).sum(1, keepdim=True).sqrt(), "square root: expected that of"),
    "divide": (lambda net, x: x / net.first(x), "expected a constant divisor"),
    "cast": (lambda net, x: net.first(x).to(torch.float64), "cast: expected float32"),
    "noise": (lambda net, x: F.dropout(net.first(x)), r"dropout: expected training=self\.training"),
    "numpy": (lambda net, x: np.tanh(x), "works on tensors alone|not representable"),
    "list": (lambda net, x: "action", "module: expected tensors, in a tuple or a dict, got str"),
    "matmul": (lambda net, x: x @ net.first(x).t(), "expected the batch to stay the first axis"),
    "middle": (lambda net, x: net.first(x).view(-1, 1, 3, 2).sum(2).view(-1, 2).mean((1,)), ""),
}


@pytest.mark.parametrize("name", [name for name, (_, message) in REFUSED.items() if message])
def test_a_refusal_names_the_function_and_where_it_stands(name: str) -> None:
    function, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        sa.from_torch(Shallow(function))


def test_a_module_in_the_depth_is_named() -> None:
    net = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Tanh(), nn.GRUCell(6, 6)))
    with pytest.raises(TypeError, match=r"module '1\.1' \(GRUCell\)"):
        sa.from_torch(net)
    with pytest.raises(ValueError, match=r"module '0' \(LazyLinear\).*initialised"):
        sa.from_torch(nn.Sequential(nn.LazyLinear(3), nn.Linear(6, 6)))


def test_a_policy_that_differs_from_its_module_is_refused() -> None:
    """A module that computes something else the second time stands for a wrong rule."""
    calls = []

    def changing(net: Shallow, x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return net.first(x) * len(calls)

    with pytest.raises(ValueError, match="action: expected the policy to give what its source"):
        sa.from_torch(Shallow(changing))
