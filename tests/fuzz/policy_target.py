"""Policy files whose checksum is right: what is behind it is damaged, forged or greedy.

Both readers see every file: Python's and that of the compiled core. They take and refuse the same
ones, and what they take runs with the bits of the reference on every instruction set.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mutations import damage_bytes, damage_tree, hostile, pick, refused, to_json
from structure import damage_structure

import sparseagent as sa
from sparseagent import _core
from sparseagent.policyfile import MEMORY_FIXED, MEMORY_PER_BYTE, PolicyFileError

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
from programs import random_program, several_inputs

_DTYPES = ("F32", "F64", "I32", "I64", "U16", "U8", "I8", "BOOL", "F16", "BF16", "Q8", "C64")
_ISAS = [name for name, (runs, *_) in _core.isas().items() if runs]
_MOST = 1 << 18  # features and weights: what has more is not worth the time of running it


@dataclass
class Tensor:
    """A tensor as the file holds it."""

    dtype: str
    shape: list[int]
    data: bytes


@dataclass
class Parts:
    """A policy file taken apart."""

    metadata: dict[str, Any]
    spec: Any
    tensors: dict[str, Tensor]


def take_apart(file: bytes) -> Parts:
    """The parts of an undamaged file."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        tensors[name] = Tensor(entry["dtype"], entry["shape"], file[start + first : start + end])
    return Parts(metadata, json.loads(metadata.pop("spec")), tensors)


def put_together(rng: np.random.Generator, parts: Parts) -> bytes:
    """A file, its offsets and its header whole as a rule, its checksum blank."""
    header: dict[str, Any] = {}
    data = b""
    for name, tensor in parts.tensors.items():
        offsets = [len(data), len(data) + len(tensor.data)]
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
        data += tensor.data
    header["__metadata__"] = {**parts.metadata, "spec": to_json(parts.spec)}
    if rng.random() < 0.08:
        header = damage_tree(rng, header)
    text = to_json(header).encode()
    if rng.random() < 0.08:
        text = damage_bytes(rng, text)
    text += b" " * (-len(text) % 8)
    length = len(text) if rng.random() < 0.98 else abs(int(len(text) + rng.integers(-9, 9)))
    return length.to_bytes(8, "little") + text + data


def seal(file: bytes) -> bytes:
    """The same with a checksum that fits, where there is a place for one."""
    blank = b'"' + b"0" * 64 + b'"'
    digest = hashlib.sha256(file).hexdigest().encode()
    return file.replace(blank, b'"' + digest + b'"', 1)


class Target:
    """See `fuzz.Target`."""

    def __init__(self) -> None:
        self.files = [policy.to_bytes() for policy in examples()]

    def case(self, rng: np.random.Generator) -> bytes:
        """One to four changes, mostly one, to one of the examples or to a random program."""
        parts = take_apart(pick(rng, self.files) if rng.random() < 0.4 else program_file(rng))
        parts.metadata["checksum"] = "0" * 64
        for _ in range(int(pick(rng, (1, 1, 1, 2, 4)))):
            damage(rng, parts)
        return seal(put_together(rng, parts))

    def check(self, content: bytes) -> bool:
        """Refused by name by both readers, or taken by both and run with the reference's bits."""
        native = native_refusal(content)
        try:
            policy = sa.load(content)
        except PolicyFileError as error:
            # The self-test is Python's alone.
            if native is None and "golden" not in str(error) and "self-test" not in str(error):
                raise AssertionError("refused by Python, taken by the core") from error
            return refused(error)
        if native is not None:
            raise AssertionError("taken by Python, refused by the core") from native
        compare(content, policy)
        assert sa.load(policy.to_bytes()).to_bytes() == policy.to_bytes()
        return True

    def memory(self, content: bytes) -> int:
        """What the package promises, and once more what saving and comparing here take."""
        return MEMORY_FIXED + MEMORY_PER_BYTE * len(content)


def native_refusal(content: bytes) -> ValueError | None:
    """What the core's reader says of it; None where it takes the file."""
    try:
        _core.Plan(content, "scalar", "", 1, 0.0, [], [])
    except ValueError as error:
        refused(error)
        return error
    return None


def compare(content: bytes, policy: sa.SparsePolicy) -> None:
    """Every output of a small batch on every instruction set, and the action."""
    widths = [size for op in policy.program.ops for size in (op.in_size, op.out_size)]
    if sum(widths) + policy.nnz > _MOST:
        return
    rng = np.random.default_rng(len(content))
    batch = {name: batch_for(rng, step) for name, step in policy.inputs.items()}
    inputs = list(batch.values())
    expected = {
        name: _core.reference(content, inputs, number)
        for number, name in enumerate(policy.program.outputs)
    }
    for isa in _ISAS:
        act = _core.Plan(content, isa, "", 1, 0.0, [], [])
        outputs = act.outputs(batch)
        assert list(outputs) == list(expected)
        for name, output in outputs.items():
            assert output.tobytes() == expected[name].tobytes(), (isa, name)
        first = {name: rows[0] for name, rows in batch.items()}
        for name, output in act.outputs(first).items():
            assert output.tobytes() == expected[name][0].tobytes(), (isa, name)
        actions, _ = act.predict(batch)
        with np.errstate(all="ignore"):
            wanted = policy.head.apply(next(iter(expected.values())))
        assert np.array_equal(actions, wanted, equal_nan=True), isa


def batch_for(
    rng: np.random.Generator, step: sa.Observation, count: int = 5
) -> np.ndarray[Any, Any]:
    """So many observations, `[count, *shape]`."""
    shape = (count, *step.shape)
    if step.categories:
        numbers = rng.integers(0, np.broadcast_to(step.categories, (count, len(step.categories))))
        return numbers.reshape(shape)
    return rng.normal(size=shape).astype(np.float32)


def program_file(rng: np.random.Generator) -> bytes:
    """A random program of a few ops, without a self-test."""
    if rng.random() < 0.2:
        program, _ = several_inputs(rng, 2)
    else:
        program = random_program(rng, int(rng.integers(1, 8)))
    return sa.SparsePolicy(program).to_bytes()


def damage(rng: np.random.Generator, parts: Parts) -> None:
    """One change, in place."""
    if rng.random() < 0.45:
        damage_structure(rng, parts.spec)
        return
    if rng.random() < 0.35:
        parts.spec = damage_tree(rng, parts.spec)
        return
    if not parts.tensors:
        return
    name = pick(rng, list(parts.tensors))
    tensor = parts.tensors[name]
    what = int(rng.integers(10))
    if what == 0:
        del parts.tensors[name]
    elif what == 1:
        tensor.dtype = pick(rng, _DTYPES)
    elif what == 2:
        tensor.shape = damage_tree(rng, tensor.shape)
    elif what == 3:
        tensor.data = damage_bytes(rng, tensor.data)
    elif what == 4:
        other = pick(rng, list(parts.tensors))
        parts.tensors[name], parts.tensors[other] = parts.tensors[other], tensor
    elif what == 5:
        parts.metadata[str(pick(rng, ("format", "format_version", "more")))] = hostile(rng)
    elif what == 6:
        stretch(rng, parts)
    else:
        forge_numbers(rng, tensor)


def forge_numbers(rng: np.random.Generator, tensor: Tensor) -> None:
    """Other numbers of the same type in a few places, or in another order."""
    dtypes = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}
    dtype = np.dtype(dtypes.get(tensor.dtype, np.uint8))
    if len(tensor.data) % dtype.itemsize:
        return  # damaged before
    numbers = np.frombuffer(tensor.data, dtype).copy()
    if not numbers.size:
        return
    if rng.random() < 0.3:
        tensor.data = rng.permutation(numbers).tobytes()
        return
    special = (0, 1, -1, 2**31 - 1, -(2**31), 65535, 255, np.nan, np.inf, -np.inf, 1e38, 1e-45)
    with np.errstate(all="ignore"):
        value = np.array(pick(rng, special)).astype(numbers.dtype)
    first, count = int(rng.integers(numbers.size)), int(pick(rng, (1, 1, 3, numbers.size)))
    numbers[first : first + count] = value
    tensor.data = numbers.tobytes()


def stretch(rng: np.random.Generator, parts: Parts) -> None:
    """A first layer that is far larger than its few weights, and fits."""
    try:
        out, runs = int(pick(rng, (1, 40, 3000))), int(pick(rng, (1, 2, 64)))
        width = int(pick(rng, (1, 5000, 1 << 20)))
        kept = int(pick(rng, (0, 1, min(width, 900))))
        ends = np.full(out * runs + 1, kept, np.int32)
        ends[0] = 0
        layer = {"shape": [out, width], "activation": "relu", "alpha": 0.0, "kind": "csr"}
        parts.spec["layers"] = [{**layer, "runs": runs}]
        parts.spec["observation"]["shape"] = [width]
        parts.spec["head"] = {"kind": "raw"}
        forged = {
            "bias": ("F32", np.zeros(out, np.float32)),
            "indptr": ("I32", ends),
            "indices": ("I32", np.arange(kept, dtype=np.int32)),
            "values": ("F32", np.ones(kept, np.float32)),
        }
    except (KeyError, TypeError, AttributeError):
        return  # damaged before
    parts.tensors = {
        f"layers.0.{name}": Tensor(dtype, list(array.shape), array.tobytes())
        for name, (dtype, array) in forged.items()
    }


def examples() -> list[sa.SparsePolicy]:
    """Small policies that have every part a file can hold."""
    rng = np.random.default_rng(0)

    def weight(out: int, width: int, runs: int = 1) -> sa.CSR:
        dense = rng.normal(size=(out, width)).astype(np.float32)
        dense[rng.random(dense.shape) < 0.6] = 0
        plain = sa.CSR.from_dense(dense)
        ends = np.repeat(plain.indptr[1:], runs)  # all entries of a row in its first run
        indptr = np.concatenate(([0], ends)).astype(np.int32)
        return sa.CSR(plain.shape, indptr, plain.indices, plain.values, runs)

    def layer(matrix: Any, activation: str, alpha: float = 0.0) -> sa.Layer:
        bias = rng.normal(size=matrix.shape[0]).astype(np.float32)
        return sa.Layer(matrix, bias, activation, alpha)

    dense = rng.normal(size=(7, 6)).astype(np.float32)
    step = sa.Observation.normalise(rng.normal(size=6), np.ones(6), eps=1e-8, clip=5)
    mixed = sa.SparsePolicy(
        sa.chain(
            (layer(dense, "elu", 1.0), layer(weight(9, 7, 3), "tanh"), layer(weight(2, 9), "tanh")),
            step,
        ),
        sa.unscale_to([-1, 0], [1, 2]),
        {"env_id": "Test-v0", "facts": [1, {"a": None}]},
    ).with_golden(rng.normal(size=(3, 6)))
    image = sa.SparsePolicy(
        sa.chain(
            (layer(weight(20, 8), "relu"), layer(weight(5, 20), "identity")),
            sa.Observation((2, 2, 2), "uint8"),
        ),
        sa.Argmax(),
    ).with_golden(rng.integers(0, 255, (2, 2, 2, 2)))
    clipped = sa.SparsePolicy(
        sa.chain((layer(weight(3, 4), "leaky_relu", 0.1),), sa.Observation((4,))),
        sa.clip_to([0] * 3, [1] * 3),
    )
    return [mixed, image, clipped, mixed.repack("avx512"), image.repack("avx2")]
