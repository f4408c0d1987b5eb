"""Recurrent cells against ONNX Runtime's own: `python -m bench.recurrent`.

One step of an LSTM and of a GRU as Stable-Baselines3's RecurrentPPO has them, observation and state
in, the hidden state out, under random masks. ONNX Runtime gets its state from bound memory and
leaves the new one there, as sparseagent does in the layout of its plan. Rows as those of
`bench.run`, in a file of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

import sparseagent as sa
from bench import programs
from bench.contenders import onnx_runtime, ours
from bench.contenders.base import Contender, Float64, Variant, dense_layer
from bench.nets import Case, Float32, aligned
from sparseagent.ops import Observe
from sparseagent.ops.cell import PARTS, Cell, cell_layer
from sparseagent.program import Program, Span, State

#: Rule, inputs and units by name.
CELLS = {
    "LSTM 64-256": ("lstm", 64, 256),
    "GRU 64-256": ("gru", 64, 256),
    "LSTM 512-128": ("lstm", 512, 128),
}


def case(name: str, sparsity: float) -> Case:
    """The cell of that name, and nothing around it."""
    rule, inputs, units = CELLS[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), round(sparsity * 10_000)])
    rows = (4 if rule == "lstm" else 3) * units
    ih, hh = (
        rng.standard_normal((rows, width), np.float32) / np.float32(np.sqrt(inputs + units))
        for width in (inputs, units)
    )
    bias = rng.standard_normal(rows, np.float32) * np.float32(0.1)
    masks = (rng.random(ih.shape) >= sparsity, rng.random(hh.shape) >= sparsity)
    layer = cell_layer(rule, ih, hh, (bias, np.zeros_like(bias)), masks)
    size = PARTS[rule] * units
    read, state, write = Span("x", 0, inputs), Span("state", 0, size), Span("next", 0, size)
    ops = (
        Observe((), (read,), "observation", sa.Observation((inputs,))),
        Cell((read, state), (write,), layer, rule),
    )
    slots = {"x": inputs, "state": size, "next": size}
    states = {"cell": State("state", write)}
    program = Program(slots, ops, {"action": Span("next", 0, units)}, states)
    return Case(name, "random", round(sparsity, 4), sa.SparsePolicy(program))


def sparseagent(format: str, isa: str | None) -> Contender:
    """Steps of a plan, each from the state of the one before: zeros would flatter dense kernels.

    What is verified is the first step of an episode.
    """
    plain = ours.contender(format, isa)
    order = "ascending" if format in ours.PLAIN else ours.own_order(isa)

    def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
        packed = policy.repack(order)
        act = sa.compile(packed, threads=1, isa=isa, format=format)
        zeros = act.initial_state(None if batch == 1 else batch)
        last: list[Any] = [None, zeros]

        def wrap(observations: Float32) -> Float32:
            return observations[0] if batch == 1 else observations

        def run(observations: Float32) -> None:
            last[0], (_, last[1]) = observations, act.step(observations, last[1])

        def read() -> Float32:
            outputs: Float32 = act.step(last[0], zeros)[0]["action"].reshape(batch, -1)
            return outputs

        def forward_ns(observations: Any, calls: int) -> Float64:
            measured: Float64 = act.time(observations, calls)
            return measured

        return (Variant(format, wrap, run, read, forward_ns=forward_ns, exact=packed, keep=(act,)),)

    return Contender(plain.name, plain.stores, plain.missing, plain.version, prepare)


def onnx(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """The LSTM or GRU operator on one step, states bound."""
    import onnxruntime as ort

    session = onnx_runtime.session(_model(policy, batch))
    (cell,) = [op for op in policy.program.ops if isinstance(op, Cell)]
    out = aligned((batch, cell.units))
    parts = PARTS[cell.rule]
    before = [aligned((1, batch, cell.units)) for _ in range(parts)]
    after = [ort.OrtValue.ortvalue_from_numpy(aligned((1, batch, cell.units))) for _ in before]
    for array in before:
        array[:] = 0
    result = ort.OrtValue.ortvalue_from_numpy(out)

    def wrap(x: Float32) -> Any:
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", result)
        for name, array, value in zip("hc", before, after, strict=False):
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
            if name != "h":
                binding.bind_ortvalue_output(f"{name}1", value)
        return binding

    return (Variant(cell.rule, wrap, session.run_with_iobinding, lambda: out, keep=tuple(before)),)


def _model(policy: sa.SparsePolicy, batch: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    (cell,) = [op for op in policy.program.ops if isinstance(op, Cell)]
    layer, units, inputs = dense_layer(cell.layer), cell.units, policy.input_size
    gates = dict(
        zip("ifgo" if cell.rule == "lstm" else "rznm", np.split(layer.weight, 4), strict=True)
    )
    bias = dict(zip(gates, np.split(layer.bias, 4), strict=True))
    if cell.rule == "lstm":
        order, hidden_bias = "iofg", [np.zeros(units, np.float32)] * 4
    else:  # n reads the inputs, m the state
        order, hidden_bias = "zrn", [np.zeros(units, np.float32)] * 2 + [bias["m"]]
    w = np.concatenate([gates[g][:, :inputs] for g in order])
    r = np.concatenate(
        [gates[{"n": "m"}.get(g, g) if cell.rule == "gru" else g][:, inputs:] for g in order]
    )
    b = np.concatenate([*(bias[g] for g in order), *hidden_bias])
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(array[None]), name)
        for name, array in (("W", w), ("R", r), ("B", b))
    ]
    constants += [
        numpy_helper.from_array(np.array([1, batch, inputs], np.int64), "shape"),
        numpy_helper.from_array(np.array([batch, units], np.int64), "flat"),
    ]
    states = "hc"[: PARTS[cell.rule]]
    outputs = ["", *(f"{name}1" for name in states)]
    more: dict[str, Any] = {"linear_before_reset": 1} if cell.rule == "gru" else {}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["sequence"]),
        helper.make_node(
            cell.rule.upper(),
            ["sequence", "W", "R", "B", "", *states],
            outputs,
            hidden_size=units,
            **more,
        ),
        helper.make_node("Reshape", ["h1", "flat"], ["y"]),
    ]

    def value(name: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    given = [value("x", [batch, inputs]), *(value(name, [1, batch, units]) for name in states)]
    made = [value("y", [batch, units]), *(value(f"{n}1", [1, batch, units]) for n in states[1:])]
    model = helper.make_model(
        helper.make_graph(nodes, "cell", given, made, constants),
        opset_imports=[helper.make_opsetid("", onnx_runtime.OPSET)],
        ir_version=onnx_runtime.IR_VERSION,
    )
    serialised: bytes = model.SerializeToString()
    return serialised


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print how many times faster than ONNX Runtime each is."""
    peer = onnx_runtime.CONTENDER
    family = programs.Family(
        "recurrent",
        __doc__,
        tuple(CELLS),
        case,
        own=sparseagent,
        peer=Contender(peer.name, peer.stores, peer.missing, peer.version, onnx),
    )
    return family.compare(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
