"""Files of a hostile author handed to the core directly: refused by both readers, by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from forged import Change, forged
from programs import several_inputs

import sparseagent as sa
from sparseagent import _core
from sparseagent.ops import Linear, Observe
from sparseagent.ops.combine import Combine
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.reduce import Reduce
from sparseagent.policyfile import PolicyFileError
from sparseagent.program import MAX_FEATURES, MAX_OPS, MAX_READS, MAX_SLOTS, Program, Span

LAYER = sa.Layer(
    sa.CSR.from_dense(np.array([[1, 0, 2], [3, 4, 0]], np.float32)), np.zeros(2, np.float32)
)
STEP = sa.Observation((3,), shift=np.zeros(3), scale=np.ones(3), low=-5, high=5)
#: Version 1: a step, one layer, bounds.
CHAIN = sa.SparsePolicy(sa.chain((LAYER,), STEP), sa.unscale_to([0, 0], [1, 1])).to_bytes()


def one_of_each() -> bytes:
    """Version 2: ops 0 to 5 are observe, linear, map, norm, combine and reduce."""
    spans = [Span(f"s{n}", 0, size) for n, size in enumerate((3, 2, 2, 2, 2, 1))]
    pair = np.ones(2, np.float32)
    ops = (
        Observe((), (spans[0],), "observation", STEP),
        Linear((spans[0],), (spans[1],), LAYER),
        Map((spans[1],), (spans[2],), "celu", 1.0, pair, pair, -1.0, 1.0),
        Norm((spans[2],), (spans[3],), "rms", 1e-5),
        Combine((spans[2], spans[3]), (spans[4],), "lerp", pair),
        Reduce((spans[4],), (spans[5],), "weighted_sum", weight=pair),
    )
    slots = {span.slot: span.size for span in spans}
    return sa.SparsePolicy(Program(slots, ops, {"action": spans[5]})).to_bytes()


PROGRAM = one_of_each()


#: A step that takes three of five numbers.
GATHERED = sa.SparsePolicy(
    sa.chain((LAYER,), sa.Observation((5,), columns=np.array([0, 2, 4], np.int32)))
).to_bytes()


def tensor(name: str, value: Any) -> Change:
    return lambda _, tensors: tensors.update({name: np.asarray(value)})


def less(name: str) -> Change:
    return lambda _, tensors: tensors.pop(name)


def op(number: int, **change: Any) -> Change:
    return lambda spec, _: spec["ops"][number].update(change)


def layer(**change: Any) -> Change:
    return lambda spec, _: spec["layers"][0].update(change)


def step(**change: Any) -> Change:
    return lambda spec, _: spec["observation"].update(change)


def top(**change: Any) -> Change:
    return lambda spec, _: spec.update(change)


F32, F64, I32 = np.float32, np.float64, np.int32
CHAINS: list[tuple[Change, str]] = [
    (
        tensor("layers.0.indices", np.array([0, 2, 1, 1], np.uint16)),
        r"layers\[0\]: indices: .*uniq",
    ),
    (
        tensor("layers.0.indices", np.array([0, 2, 1, 3], I32)),
        r"layers\[0\]: .*indices in \[0, 3\)",
    ),
    (tensor("layers.0.indices", np.array([0, 2, 1, -1], I32)), r"layers\[0\]: .*indices in \[0, 3"),
    (tensor("layers.0.indices", np.zeros(3, I32)), r"layers\[0\]: layers.0.indices: expected"),
    (tensor("layers.0.indptr", np.array([0, 5, 4], I32)), r"layers\[0\]: expected indptr never"),
    (tensor("layers.0.indptr", np.array([0, -9, 4], I32)), r"layers\[0\]: expected indptr never"),
    (tensor("layers.0.indptr", np.array([1, 2, 4], I32)), r"layers\[0\]: indptr: expected to rise"),
    (tensor("layers.0.indptr", np.array([0, 2, 2**31 - 1], I32)), r"layers\[0\]: indptr: expected"),
    (tensor("layers.0.indptr", np.array([0, 2, 4], np.uint16)), r"layers.0.indptr: expected I32"),
    (tensor("layers.0.values", np.array([1, np.nan, 3, 4], F32)), r"layers\[0\]: expected finite"),
    (tensor("layers.0.values", np.ones(4, F64)), "layers.0.values: expected F32"),
    (tensor("layers.0.bias", np.array([0, np.inf], F32)), r"layers\[0\]: expected finite weights"),
    (tensor("layers.0.bias", np.zeros((2, 1), F32)), "layers.0.bias: expected F32"),
    (less("layers.0.bias"), r"layers\[0\]: layers.0.bias: expected this array"),
    (layer(alpha=float("1e300")), r"layers\[0\]: alpha: expected a finite float32"),
    (layer(alpha="1"), r"layers\[0\]: alpha: expected a number"),
    (layer(activation="swish"), r"layers\[0\]: activation: expected one of identity, relu"),
    (layer(activation="celu", alpha=0), r"layers\[0\]: alpha: expected a positive number for celu"),
    (layer(activation="celu", alpha=1e-60), r"layers\[0\]: alpha: expected a positive number"),
    (layer(shape=[2, 4]), r"layers\[0\]: linear: expected 4 inputs and 2 outputs, got 3"),
    (layer(shape=[2, 3.0]), r"layers\[0\]: shape: expected a whole number"),
    (layer(shape=[2, "3"]), r"layers\[0\]: shape: expected a number"),
    (layer(shape=[1 << 20, 1 << 20]), r"layers\[0\]: shape: too many weights"),
    (layer(shape=[2]), r"layers\[0\]: shape: expected \(out, in\)"),
    (layer(runs=0), r"layers\[0\]: runs: expected a whole number in \[1, 64\]"),
    (layer(runs=True), r"layers\[0\]: runs: expected a number"),
    (layer(kind="coo"), r"layers\[0\]: kind: expected one of csr, dense"),
    (top(layers=[]), "layers: expected 1 to 4095"),
    (top(layers={}), "layers: expected a list"),
    (tensor("observation.scale", np.array([1, 0, 1.0])), "scale: expected positive numbers"),
    (tensor("observation.scale", np.array([1, np.nan, 1])), "scale: expected finite numbers"),
    (tensor("observation.shift", np.array([-np.inf, 0, 1])), "shift: expected finite numbers"),
    (tensor("observation.shift", np.zeros(2)), "observation.shift: expected F64"),
    (tensor("observation.shift", np.zeros((3, 1))), "observation.shift: expected F64"),
    (tensor("observation.shift", np.zeros(3, F32)), "observation.shift: expected F64"),
    (step(low=2, high=1), "low, high: expected low < high, got 2 and 1"),
    (step(low=1, high=1), "low, high: expected low < high"),
    (step(shape=[]), "observation.shift: expected F64"),
    (step(shape=[1] * 33), "shape: too large"),
    (step(shape=[1 << 20, 2]), "shape: too large"),
    (step(dtype="float16"), "dtype: expected one of"),
    (step(precision="half"), "precision: expected one of"),
    (step(categories=[2], dtype="int8"), "categories: expected one count for each"),
    (tensor("head.low", np.array([0, 2], F32)), "low, high: expected low <= high, got 2 and 1"),
    (tensor("head.low", np.array([0, np.nan], F32)), "low, high: expected low <= high, got nan"),
    (tensor("head.high", np.array([1, np.inf], F32)), "box: expected finite bounds"),
    (tensor("head.high", np.ones(3, F32)), "head.high: expected F32"),
    (tensor("head.low", np.zeros((), F32)), "head.low: expected 1 to 32 axes"),
    (less("head.low"), "head.low: expected this array"),
    (top(head={"kind": "softmax"}), "head: unknown kind 'softmax'"),
    (top(order="sse"), "order: expected one of ascending, neon, avx2, avx512"),
    (top(metadata=[]), "metadata: expected an object"),
]
PROGRAMS: list[tuple[Change, str]] = [
    (op(0, op="perceive"), r"ops\[0\]: unknown op 'perceive'; a newer sparseagent may read"),
    (op(0, reads=["s1"]), r"ops\[0\]: observe: expected no reads"),
    (op(0, input=7), r"ops\[0\]: input: expected a string"),
    (op(0, categories=[1, 1, 1]), r"ops\[0\]: (dtype|categories): expected"),
    (op(1, reads=["s0", "s0"]), r"ops\[1\]: linear: expected 3 inputs .* got 6"),
    (op(1, reads=["s2", [*("s2",), 0, 1]]), r"ops\[1\]: reads what nobody has written"),
    (op(1, reads="s0"), r"ops\[1\]: reads: expected a list"),
    (op(1, reads=[["s0"]]), r"ops\[1\]: span: expected a slot or \[slot, start, stop\]"),
    (op(1, reads=[["s0", 0, 4]]), r"ops\[1\]: span: expected a whole number in \[1, 3\]"),
    (op(1, reads=[["s0", -1, 2]]), r"ops\[1\]: span: expected a whole number in \[0, 2\]"),
    (op(1, reads=[["s0", 2, 2]]), r"ops\[1\]: span: expected a whole number in \[3, 3\]"),
    (op(1, reads=["no"]), r"ops\[1\]: span: unknown slot 'no'"),
    (op(1, writes=[]), r"ops\[1\]: writes: expected one span"),
    (op(1, writes=["s1", "s2"]), r"ops\[1\]: writes: expected one span"),
    (op(2, writes=["s1"]), r"ops\[2\]: writes what is written already"),
    (op(2, low=2), r"ops\[2\]: low, high: expected low <= high"),
    (op(2, high=1e300), r"ops\[2\]: high: expected a finite float32"),
    (op(2, alpha=-1), r"ops\[2\]: alpha: expected a positive number for celu"),
    (less("ops.2.shift"), r"ops\[2\]: ops.2.shift: expected this array"),
    (tensor("ops.2.scale", np.array([1, np.nan], F32)), r"ops\[2\]: ops.2.scale: expected finite"),
    (tensor("ops.2.scale", np.ones(3, F32)), r"ops\[2\]: ops.2.scale: expected F32 \[2\]"),
    (op(3, eps=0), r"ops\[3\]: eps: expected a positive number"),
    (op(3, eps=1e-60), r"ops\[3\]: eps: expected a positive number"),
    (op(3, eps=1e300), r"ops\[3\]: eps: expected a finite float32"),
    (op(3, rule="batch"), r"ops\[3\]: rule: expected one of layer, rms, l2"),
    (op(3, reads=["s0"]), r"ops\[3\]: expected as many outputs as inputs"),
    (op(3, reads=[]), r"ops\[3\]: reads: expected 1 spans"),
    (op(4, reads=["s2"]), r"ops\[4\]: reads: expected 2 spans"),
    (op(4, reads=["s2", "s0"]), r"ops\[4\]: reads: expected spans of one size"),
    (op(4, rule="add"), r"ops\[4\]: weight: expected none for this rule"),
    (tensor("ops.4.weight", np.array([1, np.inf], F32)), r"ops\[4\]: ops.4.weight: expected fin"),
    (less("ops.4.weight"), r"ops\[4\]: weight: expected one for this rule"),
    (op(5, groups=0), r"ops\[5\]: groups: expected a whole number in \[1, 2\]"),
    (op(5, groups=2), r"ops\[5\]: expected other outputs"),
    (op(5, rule="softmax"), r"ops\[5\]: expected other outputs"),
    (op(5, rule="mean"), r"ops\[5\]: weight: expected none for this rule"),
    (op(5, strided=1), r"ops\[5\]: strided: expected true or false"),
    (tensor("ops.5.weight", np.ones(1, F32)), r"ops\[5\]: ops.5.weight: expected F32 \[2\]"),
    (top(ops=[]), "ops: expected 1 to 4096"),
    (top(outputs={}), "outputs: expected 1 to 64"),
    (top(outputs={f"o{n}": "s0" for n in range(65)}), "outputs: expected 1 to 64"),
    (lambda spec, _: spec["slots"].update(s9=3) or spec["outputs"].update(b="s9"), "b: nobody"),
    (lambda spec, _: spec["slots"].update(s9=0), "slots: expected a whole number in"),
    (
        lambda spec, _: spec["slots"].update({f"t{n}": 1 for n in range(MAX_SLOTS)}),
        "slots: expected at most 8192 of 4194304 features in all",
    ),
    (
        lambda spec, _: spec["slots"].update({f"t{n}": 1 << 20 for n in range(MAX_FEATURES >> 20)}),
        "slots: expected at most 8192 of 4194304 features in all",
    ),
]


COLUMNS: list[tuple[Change, str]] = [
    *(
        (tensor("ops.0.columns", np.array(columns, np.int32)), "columns: expected to rise within")
        for columns in ([0, 2, 5], [0, 2, 2], [2, 0, 4], [-1, 0, 2])
    ),
    (tensor("ops.0.columns", np.zeros(0, np.int32)), "columns: expected some numbers of a row"),
    (tensor("ops.0.columns", np.arange(6, dtype=np.int32)), "columns: expected some numbers of"),
    (tensor("ops.0.columns", np.arange(2, dtype=np.int32)), r"observe: expected no reads and 2"),
    (tensor("ops.0.columns", np.arange(3.0)), r"ops\[0\]: ops.0.columns: expected I32"),
    (tensor("ops.0.columns", np.zeros((1, 3), np.int32)), r"ops\[0\]: ops.0.columns: expected"),
    (tensor("ops.0.shift", np.zeros(5)), r"ops\[0\]: ops.0.shift: expected F64 \[3\]"),
    (op(0, shape=[4]), "columns: expected to rise within a row"),
]


def check_refused(data: bytes, message: str) -> None:
    """By the core under the expected name, wherever a file comes in; and by Python."""
    for read in (
        lambda: _core.Plan(data, "", "", 1, 0.0, [], []),
        lambda: _core.reference(data, [np.ones((1, 3), F32)]),
    ):
        with pytest.raises(ValueError, match=message):
            read()
    with pytest.raises(PolicyFileError):
        sa.load(data)


@pytest.mark.parametrize("file", [CHAIN, PROGRAM], ids=["chain", "program"])
def test_unchanged_they_are_taken(file: bytes) -> None:
    data = forged(file, lambda *_: None)
    x = np.ones((1, 3), F32)
    outputs = _core.Plan(data, "", "", 1, 0.0, [], [])(x)
    assert outputs.tobytes() == _core.reference(data, [x]).tobytes()
    assert sa.load(data).to_bytes() == file


@pytest.mark.parametrize(("change", "message"), COLUMNS)
def test_columns_are_refused_by_their_name(change: Change, message: str) -> None:
    check_refused(forged(GATHERED, change), message)


@pytest.mark.parametrize(("change", "message"), CHAINS)
def test_chains_are_refused_by_the_name_of_the_part(change: Change, message: str) -> None:
    check_refused(forged(CHAIN, change), message)


@pytest.mark.parametrize(("change", "message"), PROGRAMS)
def test_programs_are_refused_by_the_name_of_the_part(change: Change, message: str) -> None:
    check_refused(forged(PROGRAM, change), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "JSON: expected a value"),
        ("-Infinity", "JSON: expected a value"),
        ("1e999", "JSON: a number is out of range"),
        ("1e-999", "JSON: a number is out of range"),
        ("9" * 400, "JSON: a number is out of range"),
        ("01", "JSON: expected"),
        ('{"a": 1, "a": 2}', "JSON: a key occurs twice"),
        ("[" * 70 + "]" * 70, "JSON: nested too deeply"),
        ("[" * 100_000, "JSON: nested too deeply"),
        ('"\\ud800"', "JSON: half a character"),
        ('"\\udc00\\ud800"', "JSON: half a character"),
    ],
)
def test_both_readers_read_the_same_json(text: str, message: str) -> None:
    def to_json(spec: Any) -> str:
        return json.dumps(spec).replace('"PLACE"', text)

    data = forged(CHAIN, top(metadata={"fact": "PLACE"}), to_json)
    check_refused(data, message)


def test_json_at_its_limits_is_taken() -> None:
    nested: Any = []
    for _ in range(62):
        nested = [nested]
    facts = {"nested": nested, "tiny": 5e-324, "huge": 10**300, "text": "\U0001f600\0é", "": ""}
    policy = sa.SparsePolicy(sa.chain((LAYER,), STEP), metadata=facts)
    data = policy.to_bytes()
    assert dict(sa.load(data).metadata) == facts
    assert _core.Plan(data, "", "", 1, 0.0, [], [])(np.ones(3, F32)).tolist() == [3, 7]
    for wrong in ([nested], 10**400, "\ud800"):
        with pytest.raises(TypeError, match="metadata: fact: expected what JSON gives back"):
            sa.SparsePolicy(sa.chain((LAYER,), STEP), metadata={"fact": wrong})


def test_an_input_is_observed_once() -> None:
    program, _ = several_inputs(np.random.default_rng(0), 1)
    file = sa.SparsePolicy(program).to_bytes()
    data = forged(file, op(0, input="state"))
    with pytest.raises(ValueError, match=r"ops\[3\]: input: 'state' is observed twice"):
        _core.Plan(data, "", "", 1, 0.0, [], [])
    with pytest.raises(PolicyFileError, match="inputs: expected each to be observed once"):
        sa.load(data)


def test_the_work_of_one_observation_has_a_limit() -> None:
    """A small file whose ops read a wide slot again and again would take minutes for each call."""
    width, count = 1 << 20, (MAX_READS >> 20) + 1

    def change(spec: Any, _: Any) -> None:
        spec["slots"] = {"x": width, **{f"y{n}": 1 for n in range(count)}}
        spec["ops"] = [{**spec["ops"][0], "shape": [width], "writes": ["x"]}]
        reduce = {"op": "reduce", "rule": "mean", "groups": 1, "strided": False}
        spec["ops"] += [{**reduce, "reads": ["x"], "writes": [f"y{n}"]} for n in range(count)]
        spec["outputs"] = {"action": "y0"}

    def bare(spec: Any, tensors: Any) -> None:
        tensors.clear()
        change(spec, tensors)

    assert count < MAX_OPS
    check_refused(forged(PROGRAM, bare), "ops: expected them to read at most 16777216 features")


def test_a_header_has_a_limit() -> None:
    with pytest.raises(ValueError, match="metadata: expected at most 4194304 bytes of JSON"):
        sa.SparsePolicy(sa.chain((LAYER,), STEP), metadata={"a": "x" * (5 << 20)}).to_bytes()
    data = forged(CHAIN, top(metadata={"a": "x" * (5 << 20)}))
    check_refused(data, "not a policy file, or truncated: its header has")
