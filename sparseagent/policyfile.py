"""One `.safetensors` file per policy: written, and read back without trusting a byte of it.

Tensors of version 2, N the number of an op:
    ops.N.*          what the op holds, see `Op.tensors`: weights, biases, statistics
    head.*           what the head holds, see `Head.tensors`: bounds, standard deviations
    golden.{observations or observations.NAME, outputs, actions}

Metadata (strings): `format`, `format_version`, `spec` (JSON: slots, ops, outputs, bounds, facts)
and `checksum`: SHA-256 of the whole file with the 64 digits of the checksum itself set to zeros.

A feed-forward net is written as version 1, which older versions of this package read too: its spec
lists `layers` and one `observation` instead of ops; `_upgraded` says how the names correspond.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from sparseagent import fields
from sparseagent.csr import Float32, ReadOnly
from sparseagent.distributions import HEADS
from sparseagent.head import Head
from sparseagent.ops import OPS, Observe
from sparseagent.program import Program, Span, Tensors

#: `[B, *shape]` of the only input, or a mapping of such arrays by the names of the inputs.
Observations = NDArray[Any] | Mapping[str, NDArray[Any]]

FORMAT = "sparseagent"
FORMAT_VERSION = 2
#: What loading a file, compiling its policy for one thread with a format of its own choice and the
#: first call may take at their peak, in bytes: so many whatever the file, and so many for each byte
#: of it. Most of it is for JSON of lists within lists, some 110 a byte; honest files take 10 to 30.
MEMORY_FIXED = 64 << 20
MEMORY_PER_BYTE = 128
#: Of JSON: everything but the arrays. Programs of as many ops as there may be take a third of it.
MAX_HEADER = 4 << 20
#: A self-test of more observations than this would make a small file slow to load.
MAX_GOLDEN = 256
_ZEROS = "0" * 64
# The arrays a file may hold, as NumPy and as the container call them, in the order of their data:
# wide ones first, so that all are aligned.
_NAMES = {
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "int32": "I32",
    "uint16": "U16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_DTYPES = list(_NAMES)
# What reading a spec or a tensor of the wrong kind can end in.
_DAMAGE = (
    SafetensorError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


class PolicyFileError(ValueError):
    """The file is not a policy file, is damaged, or was written by a newer version."""


@dataclass(frozen=True, eq=False)
class Golden(ReadOnly):
    """Observations with the outputs and actions they must give: the file's self-test.

    Attributes:
        observations: `[n, *shape]` in the environment's dtype; where there are several inputs, a
            mapping of such arrays by their names.
        outputs: float32 `[n, out]`, bit for bit what the network gives.
        actions: `[n, ...]`, what `predict` returns.

    All are copied and read-only.

    Raises:
        ValueError: n is not 1 to `MAX_GOLDEN`.
    """

    observations: Observations
    outputs: Float32
    actions: NDArray[Any]

    def __post_init__(self) -> None:
        if not 1 <= len(self.outputs) <= MAX_GOLDEN:
            raise ValueError(
                f"golden: expected 1 to {MAX_GOLDEN} observations, got {len(self.outputs)}"
            )
        given = self.observations
        copied: Observations = (
            {name: _read_only(array) for name, array in given.items()}
            if isinstance(given, Mapping)
            else _read_only(given)
        )
        object.__setattr__(self, "observations", copied)
        for name in ("outputs", "actions"):
            object.__setattr__(self, name, _read_only(getattr(self, name)))


@dataclass(frozen=True, eq=False)
class Contents:
    """What a policy file holds; `SparsePolicy` says what each part means."""

    program: Program
    head: Head
    metadata: Mapping[str, Any] = field(default_factory=dict)
    order: str = "ascending"
    golden: Golden | None = None


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    copy = np.array(array, order="C")
    copy.setflags(write=False)
    return copy


def write(data: bytes, path: str | Path) -> None:
    """Write a file's content to `path`, at once: an interrupted write leaves no half of a file."""
    target = Path(path)
    # A name of its own, for another process may be writing the same policy; not by tempfile, whose
    # files nobody else may read.
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def to_bytes(contents: Contents) -> bytes:
    """The file's content, in the lowest version of the format that holds it."""
    tensors: Tensors = {}
    version = max(contents.program.since, contents.head.since)
    program = _program_out(contents.program, tensors)
    spec = {
        **(_downgraded(program, tensors) if version == 1 else program),
        "head": _head_out(contents.head, tensors),
        "order": contents.order,
        "metadata": dict(contents.metadata),
    }
    if contents.golden is not None:
        tensors |= _golden_out(contents.golden)
    metadata = {
        "format": FORMAT,
        "format_version": str(version),
        "spec": json.dumps(spec),
        "checksum": _ZEROS,
    }
    blank = _container(tensors, metadata)
    digest = hashlib.sha256(blank).hexdigest()
    return blank.replace(f'"{_ZEROS}"'.encode(), f'"{digest}"'.encode(), 1)


def from_bytes(data: bytes) -> Contents:
    """What a file's content holds, all of it checked; the self-test is not run.

    Raises:
        PolicyFileError: it is truncated, altered, newer than this version or not a policy file.
    """
    metadata = _metadata(data)
    version = _version(metadata)
    try:
        _check_checksum(data, metadata)
        spec, tensors = fields.parse(metadata["spec"]), load_tensors(data)
        if version == 1:
            spec, tensors = _upgraded(spec, tensors)
        contents = _contents_in(spec, tensors)
    except PolicyFileError:
        raise
    except _DAMAGE as error:
        raise PolicyFileError(f"damaged policy: {type(error).__name__}: {error}") from error
    return contents


def _container(tensors: Tensors, metadata: dict[str, str]) -> bytes:
    """The safetensors container, keys and arrays in a fixed order: one policy, one content.

    Not by the safetensors package, whose order of keys differs from call to call, and whose
    compiled part a thread cannot leave where the interpreter ends: plans are compiled from this.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    parts: list[bytes] = []
    end = 0
    for name in sorted(tensors, key=lambda name: (_DTYPES.index(str(tensors[name].dtype)), name)):
        array = tensors[name]
        parts.append(array.tobytes())
        header[name] = {
            "dtype": _NAMES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [end, end + len(parts[-1])],
        }
        end += len(parts[-1])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"metadata: expected at most {MAX_HEADER} bytes of JSON in all, got {len(text)}"
        )
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _metadata(data: bytes) -> dict[str, str]:
    """The string metadata of the safetensors header: 8 bytes of length, then JSON."""
    if len(data) < 8:
        raise PolicyFileError(f"not a policy file: expected at least 8 bytes, got {len(data)}")
    if data.startswith(b"PK\x03\x04"):
        raise PolicyFileError(
            "not a policy file but a zip; a Stable-Baselines3 model becomes one with "
            "`sparseagent convert`"
        )
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise PolicyFileError(
            f"truncated, or not a policy file: expected a header of {length} bytes, got "
            f"{len(data) - 8}"
        )
    if length > MAX_HEADER:
        raise PolicyFileError(f"header: expected at most {MAX_HEADER} bytes, got {length}")
    try:
        metadata = fields.parse(data[8 : 8 + length].decode())["__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PolicyFileError("not a policy file, or a damaged one: unreadable header") from error
    wanted = ("format", "format_version", "spec", "checksum")
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(k), str) for k in wanted):
        raise PolicyFileError(f"not a policy file: expected metadata {', '.join(wanted)}")
    return metadata


def _version(metadata: dict[str, str]) -> int:
    if metadata["format"] != FORMAT:
        raise PolicyFileError(f"format: expected {FORMAT!r}, got {metadata['format']!r}")
    version = metadata["format_version"]
    if not version.isascii() or not version.isdigit():
        raise PolicyFileError(f"format_version: expected a number, got {version!r}")
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise PolicyFileError(
            f"format_version: this sparseagent reads versions 1 to {FORMAT_VERSION}, the file has "
            f"{version}; a newer sparseagent may read it"
        )
    return int(version)


def _check_checksum(data: bytes, metadata: dict[str, str]) -> None:
    stored = metadata["checksum"].encode()
    if len(stored) != len(_ZEROS) or data.count(stored) != 1:
        raise PolicyFileError("checksum: expected 64 digits that occur once in the file")
    actual = hashlib.sha256(data.replace(stored, _ZEROS.encode())).hexdigest()
    if actual.encode() != stored:
        raise PolicyFileError(
            f"checksum: the file says {stored.decode()[:12]}..., its content gives "
            f"{actual[:12]}...: it was altered or truncated"
        )


def _program_out(program: Program, tensors: Tensors) -> dict[str, Any]:
    ops = []
    for number, op in enumerate(program.ops):
        ops.append(
            {
                "op": op.kind,
                "reads": [_span_out(span, program) for span in op.reads],
                "writes": [_span_out(span, program) for span in op.writes],
                **op.attributes(),
            }
        )
        tensors |= {f"ops.{number}.{name}": array for name, array in op.tensors().items()}
    outputs = {name: _span_out(span, program) for name, span in program.outputs.items()}
    return {"slots": dict(program.slots), "ops": ops, "outputs": outputs}


def _program_in(spec: dict[str, Any], tensors: Tensors) -> Program:
    given_slots = fields.members(spec, "slots")
    slots = {name: fields.whole(given_slots, name) for name in given_slots}
    ops = []
    for number, given in enumerate(fields.items(spec, "ops")):
        kind = fields.text(given, "op")
        if kind not in OPS:
            raise PolicyFileError(
                f"ops[{number}]: unknown op {kind!r}; a newer sparseagent may read the file. This "
                f"one knows {', '.join(sorted(OPS))}"
            )
        prefix = f"ops.{number}."
        own = {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
        reads, writes = (
            tuple(_span_in(span, slots) for span in fields.items(given, key))
            for key in ("reads", "writes")
        )
        try:
            ops.append(OPS[kind].read(reads, writes, given, own))
        except KeyError as error:
            raise ValueError(f"ops[{number}] ({kind}): expected {error}") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"ops[{number}] ({kind}): {error}") from error
    outputs = {
        name: _span_in(span, slots) for name, span in fields.members(spec, "outputs").items()
    }
    return Program(slots, tuple(ops), outputs)


def _span_out(span: Span, program: Program) -> Any:
    """`"x1"` for a whole slot, `["x1", 0, 3]` for a part of one."""
    whole = span == Span(span.slot, 0, program.slots[span.slot])
    return span.slot if whole else [span.slot, span.start, span.stop]


def _span_in(given: Any, slots: dict[str, int]) -> Span:
    whole = isinstance(given, str) and given in slots
    part = isinstance(given, list) and len(given) == 3
    if not whole and not (part and isinstance(given[0], str) and given[0] in slots):
        raise ValueError(f"expected a slot or [slot, start, stop], got {given!r:.80}")
    if whole:
        return Span(given, 0, slots[given])
    slot, start, stop = given
    return Span(slot, fields.whole_number("start", start), fields.whole_number("stop", stop))


def _downgraded(spec: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """The program of a feed-forward net as version 1 says it; renames its tensors."""
    observe, *layers = spec["ops"]
    for name in list(tensors):
        _, number, own = name.split(".")
        prefix = "observation" if number == "0" else f"layers.{int(number) - 1}"
        tensors[f"{prefix}.{own}"] = tensors.pop(name)
    keys = {"shape", "activation", "alpha", "kind", "runs"}
    return {
        "layers": [{k: v for k, v in layer.items() if k in keys} for layer in layers],
        "observation": {k: observe[k] for k in ("shape", "dtype", "low", "high")},
    }


def _upgraded(spec: dict[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """What a file of version 1 says, as version 2 says it."""
    observation = fields.members(spec, "observation")
    layers = fields.items(spec, "layers")
    categories = fields.wholes(observation, "categories") if "categories" in observation else ()
    slots = {"x0": sum(categories) or math.prod(fields.wholes(observation, "shape"))}
    ops = [
        {
            **observation,
            "op": "observe",
            "input": "observation",
            "reads": [],
            "writes": ["x0"],
        }
    ]
    for number, layer in enumerate(layers):
        slots[f"x{number + 1}"] = fields.wholes(layer, "shape")[0]
        ops.append({**layer, "op": "linear", "reads": [f"x{number}"], "writes": [f"x{number + 1}"]})
    numbers = {"observation": 0, **{f"layers.{n}": n + 1 for n in range(len(layers))}}
    renamed = {}
    for name, array in tensors.items():
        owner, _, own = name.rpartition(".")
        if owner in numbers:
            renamed[f"ops.{numbers[owner]}.{own}"] = array
        elif owner in ("head", "golden"):
            renamed[name] = array
    outputs = {"action": f"x{len(layers)}"}
    return {**spec, "slots": slots, "ops": ops, "outputs": outputs}, renamed


def _head_out(head: Head, tensors: Tensors) -> dict[str, Any]:
    tensors |= {f"head.{name}": array for name, array in head.tensors().items()}
    return {"kind": head.kind, **head.attributes()}


def _head_in(spec: dict[str, Any], tensors: Tensors) -> Head:
    kind = fields.text(spec, "kind")
    if kind not in HEADS:
        raise PolicyFileError(
            f"head: unknown kind {kind!r:.80}; a newer sparseagent may read the file. This one "
            f"knows {', '.join(HEADS)}"
        )
    own = {n.removeprefix("head."): a for n, a in tensors.items() if n.startswith("head.")}
    try:
        return HEADS[kind].read(spec, own)
    except KeyError as error:
        raise ValueError(f"head ({kind}): expected {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"head ({kind}): {error}") from error


def _contents_in(spec: dict[str, Any], tensors: Tensors) -> Contents:
    program, head = _program_in(spec, tensors), _head_in(fields.members(spec, "head"), tensors)
    golden = _golden_in(program, head, tensors)
    metadata, order = fields.members(spec, "metadata"), fields.text(spec, "order")
    return Contents(program, head, metadata, order, golden)


def _golden_out(golden: Golden) -> Tensors:
    given = golden.observations
    named = given if isinstance(given, Mapping) else {"": given}
    observations = {
        f"golden.observations{name and '.'}{name}": array for name, array in named.items()
    }
    return {**observations, "golden.outputs": golden.outputs, "golden.actions": golden.actions}


def _golden_in(program: Program, head: Head, tensors: Tensors) -> Golden | None:
    steps = {op.input: op.step for op in program.ops if isinstance(op, Observe)}
    output = next(iter(program.outputs.values()))
    keys = {n: "observations" if len(steps) == 1 else f"observations.{n}" for n in steps}
    wanted = {keys[name]: (step.dtype, step.shape) for name, step in steps.items()}
    wanted |= {"outputs": ("float32", (output.size,)), "actions": head.action_of(output.size)}
    golden = {name: tensors[f"golden.{name}"] for name in wanted if f"golden.{name}" in tensors}
    if not golden:
        return None
    if len(golden) != len(wanted):
        raise ValueError("golden: expected observations, outputs and actions together")
    count = max(1, len(next(iter(golden.values()))))
    for name, (dtype, one) in wanted.items():
        array, shape = golden[name], (count, *one)
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(
                f"golden.{name}: expected {dtype} {shape}, got {array.dtype} {array.shape}"
            )
    observations = {name: golden[key] for name, key in keys.items()}
    single = next(iter(observations.values())) if len(steps) == 1 else observations
    return Golden(single, golden["outputs"], golden["actions"])
