"""from_onnx: ONNX's own node tests, files as robots' trainers write them, and hostile files."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import re
import sys
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import sparseagent as sa  # noqa: E402
from sparseagent.convert.builder import Builder  # noqa: E402
from sparseagent.convert.onnx_agent import batch_of, steps_of, walk  # noqa: E402
from sparseagent.convert.onnx_file import read_graph  # noqa: E402
from sparseagent.convert.onnx_rules import RULES  # noqa: E402
from sparseagent.program import Program  # noqa: E402
from sparseagent.reference import forward_float64  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def outputs(program: Program, x: Any) -> list[np.ndarray[Any, Any]]:
    """All outputs in float64."""
    return [
        forward_float64(Program(program.slots, program.ops, {name: span}), x)
        for name, span in program.outputs.items()
    ]


# ONNX's own cases


#: Operators whose inputs are all computed in the tests.
BOTH = ("Add", "Mul", "Sub", "Concat", "Sum", "Mean")
#: Those that give no features: shapes, other types, divisors.
NOT_FEATURES = ("Cast", "Shape", "Size", "Sqrt")


def node_cases() -> dict[str, Any]:
    """Single-node cases of operators that have a rule."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return {
        case.name.removeprefix("test_"): case
        for case in cases
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in set(RULES) - set(NOT_FEATURES)
    }


CASES = node_cases()


def program_of(case: Any) -> tuple[Program, Any]:
    """The case's node as a program, and its observations; constants are those of the case."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, (node,) = model.graph, model.graph.node
    arrays = dict(zip([port.name for port in graph.input], case.data_sets[0][0], strict=True))
    computed = list(node.input) if node.op_type in BOTH else list(node.input)[:1]
    for port in list(graph.input):
        if port.name not in computed:
            graph.input.remove(port)
            graph.initializer.append(
                numpy_helper.from_array(np.asarray(arrays[port.name]), port.name)
            )
    read = read_graph(model.SerializeToString())
    steps, builder = steps_of(read, None), Builder()
    values = walk(read, builder, steps, batch_of(read))
    outputs = {node.output[0]: values[node.output[0]].value}
    observed = {name: arrays[port.name] for name, (port, _) in steps.items()}
    return builder.program(outputs), observed


#: Why a case is no part of a policy: it mixes observations, computes with other types, or has
#: values that are computed where a policy has constants.
REFUSALS = (
    *(r"the batch", r"one batch for all", "the whole batch", "expected 1 for the batch"),
    *(r"expected numbers of one of float32", r"expected float32, got", "a tensor of numbers"),
    *(
        r"training_mode",
        "axis: expected 1, got",
        "the exponent 1, 2 or 3",
        "p 2 over the last axis",
    ),
    *(r"one bound for all features", "expected one matrix", "expected rows of one axis"),
    *(r"no features|positive axis|1 to 1048576 features", "low <= high|a positive number for celu"),
    *("first input to be computed", "takes the batch together"),
)


@functools.cache
def outcome(name: str) -> str:
    """ "passed", or why the case is refused; what is neither raises."""
    case = CASES[name]
    try:
        program, observed = program_of(case)
    except ValueError as error:
        return str(error)
    given = next(iter(observed.values())) if len(observed) == 1 else observed
    wanted = np.asarray(case.data_sets[0][1][0])
    got = outputs(program, given)[0]
    np.testing.assert_allclose(got, wanted.reshape(got.shape), rtol=1e-4, atol=1e-5)
    return "passed"


@pytest.mark.parametrize("name", CASES)
def test_a_node_of_onnx_gives_its_output_or_is_refused(name: str) -> None:
    found = outcome(name)
    assert found == "passed" or re.search("|".join(REFUSALS), found), found


def test_every_operator_passes_cases_of_onnx() -> None:
    kinds = {name: CASES[name].model.graph.node[0].op_type for name in CASES}
    passed = [kinds[name] for name in CASES if outcome(name) == "passed"]
    assert set(passed) == set(kinds.values()) - {"Tile"}  # ONNX tiles the batch
    assert len(passed) >= 165


# Files as robots' trainers write them


class Normalised(nn.Module):
    """rsl_rl's actor: an empirical normaliser, (x - mean) / (std + eps), and an ELU network."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("mean", 3 * torch.randn(1, widths[0]))
        self.register_buffer("std", torch.rand(1, widths[0]) + 0.1)
        modules: list[nn.Module] = []
        for width, out in itertools.pairwise(widths):
            modules += [nn.Linear(width, out), nn.ELU()]
        self.actor = nn.Sequential(*modules[:-1])

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.actor((observation - self.mean) / (self.std + 1e-2))


class Latent(nn.Module):
    """Everything else that an exporter may write."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 8))
        self.head = nn.Linear(11, 6)

    def forward(self, x: torch.Tensor, goal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.cat([torch.tanh(self.trunk(x)), goal.view(goal.shape[0], -1)], dim=-1)
        mean, log_std = torch.split(self.head(h), 3, dim=-1)
        value = F.gelu(h[:, 1:5]).unsqueeze(1).flatten(1).mean(dim=-1, keepdim=True)
        return mean.clamp(-1, 1) * 2 + value, torch.clamp(log_std, -5, 2)


def exported(module: nn.Module, *inputs: torch.Tensor, names: list[str], **options: Any) -> bytes:
    file = io.BytesIO()
    axes = {name: {0: "batch"} for name in names}
    torch.onnx.export(
        module.eval(), inputs, file, dynamo=False, input_names=names, dynamic_axes=axes, **options
    )
    return file.getvalue()


@pytest.mark.parametrize("dynamic", [True, False])
def test_an_actor_of_rsl_rl(dynamic: bool, tmp_path: Path) -> None:
    module = Normalised(235, 512, 256, 128, 12)
    names = ["obs"] if dynamic else []
    (tmp_path / "policy.onnx").write_bytes(exported(module, torch.zeros(1, 235), names=names))
    policy = sa.from_onnx(tmp_path / "policy.onnx", metadata={"robot": "anymal"})
    assert [op.kind for op in policy.program.ops] == ["observe", *["linear"] * 4]
    assert [layer.activation for layer in policy.layers] == [*["elu"] * 3, "identity"]
    np.testing.assert_array_equal(policy.observation.shift, module.mean.numpy().ravel())
    assert policy.metadata["source_distance"] < 1e-5
    assert policy.metadata["producer"].startswith("pytorch")
    assert policy.metadata["robot"] == "anymal"
    x = 3 * torch.randn(7, 235)
    got = sa.compile(policy, tune=0)(x.numpy())
    np.testing.assert_allclose(got, module(x).detach().numpy(), atol=1e-5)


def test_onnx_and_torch_come_to_the_same_policy() -> None:
    module = Normalised(9, 16, 8, 3)
    with torch.no_grad():
        module.actor[0].weight.mul_(torch.rand(16, 9) > 0.7)
    ways = [
        sa.from_onnx(exported(module, torch.zeros(2, 9), names=["obs"])),
        sa.from_torch(module),
    ]
    x = torch.randn(5, 9).numpy()
    first, second = (sa.compile(policy, tune=0)(x) for policy in ways)
    np.testing.assert_array_equal(first, second)
    assert ways[0].sparsity == ways[1].sparsity > 0


def test_several_inputs_and_outputs() -> None:
    module = Latent()
    x, goal = torch.randn(4, 6), torch.randn(4, 3, 1)
    content = exported(
        module, x, goal, names=["x", "goal"], output_names=["mean", "log_std"], opset_version=20
    )
    policy = sa.from_onnx(content)
    assert list(policy.inputs) == ["x", "goal"]
    assert list(policy.program.outputs) == ["mean", "log_std"]
    got = outputs(policy.program, {"x": x.numpy(), "goal": goal.numpy()})
    for one, expected in zip(got, module(x, goal), strict=True):
        np.testing.assert_allclose(one, expected.detach().numpy(), atol=2e-6)
    assert list(sa.from_onnx(content, outputs=["log_std"]).program.outputs) == ["action"]
    with pytest.raises(ValueError, match=r"outputs: expected some of \['mean', 'log_std'\]"):
        sa.from_onnx(content, outputs=["value"])


def test_a_layer_norm_that_an_older_exporter_spells_out() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2))
    nn.init.normal_(module[1].weight)
    content = exported(module, torch.zeros(2, 4), names=["x"], opset_version=13)
    kinds = {node.op_type for node in onnx.ModelProto.FromString(content).graph.node}
    assert {"Sqrt", "ReduceMean", "Pow"} <= kinds
    policy = sa.from_onnx(content)
    assert [op.kind for op in policy.program.ops] == ["observe", "linear", "norm", "map", "linear"]
    assert policy.program.ops[2].eps == np.float32(1e-5)  # type: ignore[attr-defined]
    assert policy.metadata["source_distance"] < 1e-6


def test_masks_by_the_names_of_initializers() -> None:
    module = Normalised(4, 6, 2)
    mask = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) > 0.5
    with torch.no_grad():
        module.actor[0].weight.mul_(mask)
    content = exported(module, torch.zeros(2, 4), names=["obs"])
    policy = sa.from_onnx(content, masks={"actor.0.weight": mask})
    assert policy.layers[0].nnz == int(mask.sum())


# Refusals


def model(nodes: list[Any], constants: dict[str, Any] | None = None, **shapes: Any) -> bytes:
    """A model `x` -> `y`, made by hand."""
    ports = {"x": ["batch", 3], "y": ["batch", None], **shapes}
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ports[n]) for n in ("x", "y"))
    initializers = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers)
    opset = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opset).SerializeToString()


def node(kind: str, *inputs: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [out], **attributes)


W = np.ones((3, 3), np.float32)


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Exp", "x")], {}, r"node 0 \(Exp\): not representable as ops; expected Add, "),
        ([node("Sqrt", "x")], {}, r"\(Sqrt\): square root: expected that of a row's mean square"),
        ([node("Gemm", "x", "x")], {}, r"\(Gemm\): B: expected a constant, got a computed"),
        (
            [node("MatMul", "x", "w")],
            {"w": W.astype(np.float64)},
            "B: expected float32, got float64",
        ),
        ([node("Div", "x", "w")], {"w": W[0] * 0}, "expected a divisor without zeros"),
        ([node("Div", "w", "x")], {"w": W[0]}, "expected a constant divisor"),
        ([node("MatMul", "x", "w")], {"w": W[:2]}, "linear: expected 3 inputs, got 2"),
        ([node("MatMul", "x", "w")], {"w": W * np.inf}, "weight: expected finite numbers"),
        ([node("Relu", "x")], {}, "at least one Linear"),
        ([node("Relu", "z")], {}, r"\(Relu\): expected inputs that nodes before it give, got z"),
        ([node("Relu", "y")], {}, r"\(Relu\): expected inputs that nodes before it give, got y"),
        ([node("Relu", "x", out="x")], {}, "expected a name that is new, got x"),
        (
            [node("Constant", value_float=1.0)],
            {},
            "output y: expected one that observations decide",
        ),
        ([node("Clip", "x", "x", "x")], {}, "min: expected a constant"),
        ([node("Relu", "x", domain="com.microsoft")], {}, "an operator of ONNX itself"),
    ],
)
def test_what_cannot_be_represented_is_named(
    nodes: list[Any], constants: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sa.from_onnx(model(nodes, constants))


def external() -> bytes:
    changed = onnx.ModelProto.FromString(model([node("MatMul", "x", "w")], {"w": W}))
    tensor = changed.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return changed.SerializeToString()


def lying(**fields: Any) -> bytes:
    changed = onnx.ModelProto.FromString(model([node("MatMul", "x", "w")], {"w": W}))
    tensor = changed.graph.initializer[0]
    for name, value in fields.items():
        if name == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, name, value)
    return changed.SerializeToString()


def grown(kind: str, times: int) -> bytes:
    """Each node makes its result larger than the last."""
    sizes = np.array([1, 1 << 10])
    nodes = [node("MatMul", "x", "w", out="y0")]
    nodes += [
        node(kind, f"y{n}", *(["t"] if kind == "Tile" else [f"y{n}"]), out=f"y{n + 1}", **axis)
        for n in range(times)
        for axis in [{"axis": 1} if kind == "Concat" else {}]
    ]
    nodes.append(node("Relu", f"y{times}"))
    return model(nodes, {"w": W, "t": sizes})


def constants_grow() -> bytes:
    nodes = [node("ConstantOfShape", "s", out="c"), node("Add", "x", "c")]
    return model(nodes, {"s": np.array([1 << 20, 1 << 20])})


def matrix_used_often() -> bytes:
    wide = np.ones((1024, 1024), np.float32)
    nodes = [node("MatMul", "x", "first", out="y0")]
    nodes += [node("MatMul", f"y{n}", "w", out=f"y{n + 1}") for n in range(300)]
    nodes.append(node("Relu", "y300"))
    return model(nodes, {"first": np.ones((3, 1024), np.float32), "w": wide})


HOSTILE = {
    "text": lambda: b"no model",
    "empty": lambda: b"",
    "cut": lambda: model([node("MatMul", "x", "w")], {"w": W})[:-20],
    "external": external,
    "larger than its numbers": lambda: lying(dims=[1 << 20, 1 << 20]),
    "negative": lambda: lying(dims=[-3, -3]),
    "axes": lambda: lying(dims=[1] * 60 + [9]),
    "type": lambda: lying(data_type=8),
    "tiles": lambda: grown("Tile", 4),
    "doubles": lambda: grown("Concat", 60),
    "constants": constants_grow,
    "uses": matrix_used_often,
    "nodes": lambda: model([node("Relu", "x", out=f"y{n}") for n in range(20_000)]),
    "batch": lambda: model([node("MatMul", "x", "w")], {"w": W}, x=["batch", 1 << 40]),
    "no size": lambda: model([node("MatMul", "x", "w")], {"w": W}, x=["batch", "n"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_soon_and_small(name: str, tmp_path: Path) -> None:
    content = HOSTILE[name]()
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ValueError, match=r".") as caught:
            sa.from_onnx(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 20, "a bomb takes minutes"
    assert peak < (320 << 20) + 16 * len(content)
    assert len(str(caught.value)) < 2000


def test_mutated_files_raise_value_errors_alone() -> None:
    content = exported(Normalised(4, 6, 2), torch.zeros(2, 4), names=["obs"])
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            changed[place] = random.integers(256)
        with contextlib.suppress(ValueError):
            sa.from_onnx(bytes(changed))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"sparseagent\[onnx\]"):
        sa.from_onnx(b"")
