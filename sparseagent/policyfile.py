"""One `.safetensors` file per policy: written, and read back without trusting a byte of it.

Tensors:
    layers.N.{indptr int32, indices uint16 or int32, values float32, bias float32}  CSR layers
    layers.N.{weight float32 [out, in], bias float32}                               dense layers
    observation.{shift, scale}  float64 [in], where there are any
    head.{low, high}            float32, where there are any
    golden.{observations, outputs, actions}

Metadata (strings): `format`, `format_version`, `spec` (JSON: shapes, activations, bounds, facts)
and `checksum`: SHA-256 of the whole file with the 64 digits of the checksum itself set to zeros.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from sparseagent.csr import CSR
from sparseagent.head import Argmax, Box, Clip, Head, Raw, Unscale
from sparseagent.observation import Observation
from sparseagent.policy import Golden, Layer, SparsePolicy

FORMAT = "sparseagent"
FORMAT_VERSION = 1
#: What loading a file, compiling its policy for one thread with a format of its own choice and the
#: first call may take at their peak, in bytes: so many whatever the file, and so many for each byte
#: of it. Most of it is for JSON of lists within lists, some 110 a byte; honest files take 10 to 30.
MEMORY_FIXED = 64 << 20
MEMORY_PER_BYTE = 128
_ZEROS = "0" * 64
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

Tensors = dict[str, np.ndarray[Any, Any]]


class PolicyFileError(ValueError):
    """The file is not a policy file, is damaged, or was written by a newer version."""


def save(policy: SparsePolicy, path: str | Path) -> None:
    """Write `policy` to `path`, at once: an interrupted write leaves no half of a file."""
    data = to_bytes(policy)
    target = Path(path)
    # A name of its own, for another process may be writing the same policy; not by tempfile, whose
    # files nobody else may read.
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> SparsePolicy:
    """Read a policy file, check all of it, and run its self-test.

    What that costs is bounded by the file's size, whoever wrote it: loading, compiling and the
    first call take at most 64 MiB and 128 bytes for each byte of the file, and time in proportion.
    A self-test has at most 256 observations.

    Raises:
        ValueError: the file is truncated, altered, newer than this version or not a policy file,
            or this machine does not reproduce its golden outputs bit for bit.
        FileNotFoundError: there is no such file.
    """
    data = Path(path).read_bytes()
    try:
        return from_bytes(data)
    except PolicyFileError as error:
        raise PolicyFileError(f"{path}: {error}") from error.__cause__


def to_bytes(policy: SparsePolicy) -> bytes:
    """The file's content."""
    tensors: Tensors = {}
    spec = {
        "layers": [
            _layer_out(layer, f"layers.{i}", tensors) for i, layer in enumerate(policy.layers)
        ],
        "observation": _observation_out(policy.observation, tensors),
        "head": _head_out(policy.head, tensors),
        "order": policy.order,
        "metadata": dict(policy.metadata),
    }
    if policy.golden is not None:
        for name in ("observations", "outputs", "actions"):
            tensors[f"golden.{name}"] = getattr(policy.golden, name)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "spec": json.dumps(spec),
        "checksum": _ZEROS,
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    blank = _sorted_header(save_tensors(contiguous, metadata=metadata))
    digest = hashlib.sha256(blank).hexdigest()
    return blank.replace(f'"{_ZEROS}"'.encode(), f'"{digest}"'.encode(), 1)


def from_bytes(data: bytes) -> SparsePolicy:
    """The policy in a file's content; see `load` for what it raises."""
    metadata = _metadata(data)
    _check_version(metadata)
    try:
        _check_checksum(data, metadata)
        policy = _policy_in(json.loads(metadata["spec"]), load_tensors(data))
        if policy.golden is not None:
            _self_test(policy, policy.golden)
    except PolicyFileError:
        raise
    except _DAMAGE as error:
        raise PolicyFileError(f"damaged policy: {type(error).__name__}: {error}") from error
    return policy


def _sorted_header(data: bytes) -> bytes:
    """The same file with its header's keys in order: one policy, one sequence of bytes."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[start:]


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
            f"truncated or damaged: expected a header of {length} bytes, got {len(data) - 8}"
        )
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PolicyFileError("not a policy file, or a damaged one: unreadable header") from error
    wanted = ("format", "format_version", "spec", "checksum")
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(k), str) for k in wanted):
        raise PolicyFileError(f"not a policy file: expected metadata {', '.join(wanted)}")
    return metadata


def _check_version(metadata: dict[str, str]) -> None:
    if metadata["format"] != FORMAT:
        raise PolicyFileError(f"format: expected {FORMAT!r}, got {metadata['format']!r}")
    version = metadata["format_version"]
    if not version.isascii() or not version.isdigit():
        raise PolicyFileError(f"format_version: expected a number, got {version!r}")
    if version != str(FORMAT_VERSION):
        raise PolicyFileError(
            f"format_version: this sparseagent reads version {FORMAT_VERSION}, the file has "
            f"{version}; a newer sparseagent may read it"
        )


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


def _self_test(policy: SparsePolicy, golden: Golden) -> None:
    from sparseagent.reference import forward_exact

    outputs = forward_exact(policy, golden.observations)
    if outputs.tobytes() != golden.outputs.tobytes():
        raise PolicyFileError(
            "self-test: this machine does not reproduce the golden outputs bit for bit"
        )
    if not np.array_equal(policy.head.apply(outputs), golden.actions, equal_nan=True):
        raise PolicyFileError("self-test: the head does not give the golden actions")


def _layer_out(layer: Layer, prefix: str, tensors: Tensors) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "shape": layer.shape,
        "activation": layer.activation,
        "alpha": layer.alpha,
        "kind": "csr" if isinstance(layer.weight, CSR) else "dense",
    }
    tensors[f"{prefix}.bias"] = layer.bias
    if isinstance(layer.weight, CSR):
        narrow = layer.shape[1] <= 1 << 16
        spec["runs"] = layer.weight.runs
        tensors[f"{prefix}.indptr"] = layer.weight.indptr
        tensors[f"{prefix}.indices"] = layer.weight.indices.astype(
            np.uint16 if narrow else np.int32
        )
        tensors[f"{prefix}.values"] = layer.weight.values
    else:
        tensors[f"{prefix}.weight"] = layer.weight
    return spec


def _layer_in(spec: dict[str, Any], prefix: str, tensors: Tensors) -> Layer:
    shape = tuple(int(n) for n in spec["shape"])
    if len(shape) != 2:
        raise ValueError(f"{prefix}: expected shape (out, in), got {shape}")
    weight: Any
    if spec["kind"] == "csr":
        indices = tensors[f"{prefix}.indices"]
        if indices.dtype not in (np.uint16, np.int32):
            raise ValueError(f"{prefix}.indices: expected uint16 or int32, got {indices.dtype}")
        weight = CSR(
            (shape[0], shape[1]),
            tensors[f"{prefix}.indptr"],
            indices.astype(np.int32),
            tensors[f"{prefix}.values"],
            int(spec["runs"]),
        )
    elif spec["kind"] == "dense":
        weight = tensors[f"{prefix}.weight"]
        if weight.shape != shape:
            raise ValueError(f"{prefix}.weight: expected shape {shape}, got {weight.shape}")
    else:
        raise ValueError(f"{prefix}: expected kind csr or dense, got {spec['kind']!r}")
    return Layer(weight, tensors[f"{prefix}.bias"], str(spec["activation"]), float(spec["alpha"]))


def _observation_out(step: Observation, tensors: Tensors) -> dict[str, Any]:
    for name in ("shift", "scale"):
        if getattr(step, name) is not None:
            tensors[f"observation.{name}"] = getattr(step, name)
    bounds = [None if math.isinf(bound) else bound for bound in (step.low, step.high)]
    return {"shape": step.shape, "dtype": step.dtype, "low": bounds[0], "high": bounds[1]}


def _observation_in(spec: dict[str, Any], tensors: Tensors) -> Observation:
    for name in ("observation.shift", "observation.scale"):
        if name in tensors and tensors[name].dtype != np.float64:
            raise ValueError(f"{name}: expected float64, got {tensors[name].dtype}")
    return Observation(
        tuple(int(n) for n in spec["shape"]),
        str(spec["dtype"]),
        tensors.get("observation.shift"),
        tensors.get("observation.scale"),
        -math.inf if spec["low"] is None else float(spec["low"]),
        math.inf if spec["high"] is None else float(spec["high"]),
    )


def _head_out(head: Head, tensors: Tensors) -> dict[str, Any]:
    if isinstance(head, Clip | Unscale):
        tensors["head.low"] = head.box.low
        tensors["head.high"] = head.box.high
    return {"kind": head.kind}


def _head_in(spec: dict[str, Any], tensors: Tensors) -> Head:
    kind = spec["kind"]
    if kind == Raw.kind:
        return Raw()
    if kind == Argmax.kind:
        return Argmax()
    if kind not in (Clip.kind, Unscale.kind):
        raise ValueError(f"head: unknown kind {kind!r}")
    for name in ("head.low", "head.high"):
        if tensors[name].dtype != np.float32:
            raise ValueError(f"{name}: expected float32, got {tensors[name].dtype}")
    box = Box(tensors["head.low"], tensors["head.high"])
    return Clip(box) if kind == Clip.kind else Unscale(box)


def _policy_in(spec: dict[str, Any], tensors: Tensors) -> SparsePolicy:
    policy = SparsePolicy(
        tuple(_layer_in(layer, f"layers.{i}", tensors) for i, layer in enumerate(spec["layers"])),
        _observation_in(spec["observation"], tensors),
        _head_in(spec["head"], tensors),
        dict(spec["metadata"]),
        str(spec["order"]),
    )
    return replace(policy, golden=_golden_in(policy, tensors))


def _golden_in(policy: SparsePolicy, tensors: Tensors) -> Golden | None:
    action_dtype = "int64" if isinstance(policy.head, Argmax) else "float32"
    wanted = {
        "observations": (policy.observation.dtype, policy.observation.shape),
        "outputs": ("float32", (policy.output_size,)),
        "actions": (action_dtype, policy.action_shape),
    }
    golden = {name: tensors[f"golden.{name}"] for name in wanted if f"golden.{name}" in tensors}
    if not golden:
        return None
    if len(golden) != len(wanted):
        raise ValueError("golden: expected observations, outputs and actions together")
    count = max(1, len(golden["observations"]))
    for name, (dtype, one) in wanted.items():
        array, shape = golden[name], (count, *one)
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(
                f"golden.{name}: expected {dtype} {shape}, got {array.dtype} {array.shape}"
            )
    return Golden(**golden)
