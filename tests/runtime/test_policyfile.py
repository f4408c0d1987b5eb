"""The policy file: round trips, and an error for everything that is not one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import random_policy, same_bits
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import sparseagent as sa
from sparseagent.policyfile import PolicyFileError

RNG = np.random.default_rng(11)


def example(**parts: Any) -> sa.SparsePolicy:
    """A policy with every part a file can hold."""
    parts.setdefault(
        "observation", sa.Observation.normalise(RNG.normal(size=9), np.ones(9), eps=1e-8, clip=5)
    )
    parts.setdefault("head", sa.unscale_to([-1, -2, 0], [1, 2, 3]))
    policy = random_policy(RNG, (9, 31, 17, 3), 0.7, "tanh", runs=2, **parts)
    dense = sa.Layer(
        RNG.normal(size=(31, 9)).astype(np.float32), np.zeros(31, np.float32), "elu", 0.5
    )
    mixed = sa.SparsePolicy(
        sa.chain((dense, *policy.layers[1:]), policy.observation),
        policy.head,
        {"env_id": "Test-v0"},
    )
    return mixed.with_golden(RNG.normal(size=(4, 9)))


def reseal(data: bytes) -> bytes:
    """The same file with a checksum that fits: what a malicious author would hand out."""
    length = int.from_bytes(data[:8], "little")
    stored = json.loads(data[8 : 8 + length])["__metadata__"]["checksum"].encode()
    blank = data.replace(stored, b"0" * 64)
    return data.replace(stored, hashlib.sha256(blank).hexdigest().encode())


def test_round_trip(tmp_path: Path) -> None:
    policy = example()
    path = tmp_path / "policy.safetensors"
    policy.save(path)
    again = sa.load(path)
    rows = RNG.normal(size=(5, 9)).astype(np.float32)
    assert same_bits(sa.compile(policy)(rows), sa.compile(again)(rows))
    for before, after in zip(policy.layers, again.layers, strict=True):
        assert same_bits(before.dense_weight(), after.dense_weight())
        assert same_bits(before.bias, after.bias)
        assert (before.activation, before.alpha) == (after.activation, after.alpha)
        assert type(before.weight) is type(after.weight)
    assert again.metadata == {"env_id": "Test-v0"}
    assert again.golden is not None
    assert same_bits(again.golden.actions, policy.golden.actions)
    assert [p.name for p in tmp_path.iterdir()] == ["policy.safetensors"]


def test_two_writers_of_one_path_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mine, other = tmp_path / "policy.safetensors", example(), example()
    replace = Path.replace

    def interrupted(partial: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        other.save(path)
        assert sa.load(path).to_bytes() == other.to_bytes()
        return replace(partial, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    mine.save(path)
    assert sa.load(path).to_bytes() == mine.to_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    path.mkdir()
    with pytest.raises(OSError, match=r"policy\.safetensors"):
        example().save(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_policy_file_may_be_read_by_whom_any_file_may(tmp_path: Path) -> None:
    ordinary, path = tmp_path / "ordinary", tmp_path / "policy.safetensors"
    ordinary.touch()
    example().save(path)
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_an_observation_with_an_np_dtype_is_saved(tmp_path: Path) -> None:
    step = sa.Observation((9,), np.dtype(np.float32))  # type: ignore[arg-type]
    policy = random_policy(RNG, (9, 3), 0.5, observation=step)
    policy.save(tmp_path / "policy.safetensors")
    assert sa.load(tmp_path / "policy.safetensors").observation.dtype == "float32"


def test_one_policy_is_one_sequence_of_bytes() -> None:
    policy = example()
    assert policy.to_bytes() == policy.to_bytes() == sa.load(policy.to_bytes()).to_bytes()


@pytest.mark.parametrize(
    "head",
    [sa.Raw(), sa.Argmax(), sa.clip_to([0] * 3, [np.inf] * 3), sa.unscale_to([0] * 3, [1] * 3)],
)
def test_heads_and_plain_observations(head: sa.Head) -> None:
    policy = random_policy(
        RNG, (9, 4, 3), 0.5, observation=sa.Observation((3, 3), "uint8"), head=head
    )
    golden = policy.with_golden(RNG.integers(0, 255, (2, 3, 3), np.uint8))
    again = sa.load(golden.to_bytes())
    assert again.head.kind == head.kind
    assert again.observation.is_identity
    assert again.observation.dtype == "uint8"


def test_any_altered_byte_is_noticed() -> None:
    data = example().to_bytes()
    places = range(0, len(data), max(1, len(data) // 600))
    for place in places:
        for flip in (0x01, 0x20, 0xFF):
            altered = bytearray(data)
            altered[place] ^= flip
            with pytest.raises(PolicyFileError):
                sa.load(bytes(altered))


def test_any_truncation_is_noticed() -> None:
    data = example().to_bytes()
    for length in [*range(0, 64), *range(64, len(data), 97), len(data) - 1]:
        with pytest.raises(PolicyFileError):
            sa.load(data[:length])
    with pytest.raises(PolicyFileError):
        sa.load(data + b"\0")


def test_a_thousand_corrupted_files(tmp_path: Path) -> None:
    """Random damage of several kinds, each file an error; then the same with a valid checksum."""
    data = example().to_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.safetensors"
    for number in range(1000):
        damaged = bytearray(data)
        first = int(rng.integers(len(data)))
        size = int(rng.integers(1, 64))
        if number % 3 == 0:
            damaged[first : first + size] = rng.integers(0, 256, size, np.uint8).tobytes()
        elif number % 3 == 1:
            del damaged[first : first + size]
        else:
            damaged[first:first] = rng.integers(0, 256, size, np.uint8).tobytes()
        if bytes(damaged) == data:
            continue
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged\.safetensors: "):
            sa.load(path)


def test_resealed_damage_never_reaches_a_kernel_unchecked() -> None:
    """With a valid checksum the content itself must be checked: an error, or a policy that runs."""
    data = example().to_bytes()
    rng = np.random.default_rng(1)
    start = 8 + int.from_bytes(data[:8], "little")
    refused = 0
    for number in range(1000):
        damaged = bytearray(data)
        low = start if number % 2 else 8
        place = int(rng.integers(low, len(data)))
        damaged[place] = int(rng.integers(256))
        try:
            sealed = reseal(bytes(damaged))
        except (AttributeError, KeyError, TypeError, ValueError):
            sealed = bytes(damaged)  # there is no seal left to renew
        try:
            policy = sa.load(sealed)
        except ValueError:
            refused += 1
            continue
        act = sa.compile(policy, tune=0)
        act(np.ones((3, policy.input_size), np.float32))
    assert refused > 300


def test_broken_structure_with_a_valid_checksum_is_named() -> None:
    plain = example().with_metadata()
    bad = {
        "indptr: expected": ("indptr", np.array([0, 10_000], np.int32)),
        "indices: expected columns": ("indices", np.array([60_000], np.uint16)),
        "values: expected finite": ("values", np.array([np.nan], np.float32)),
    }
    for message, (name, replacement) in bad.items():
        data = bytearray(plain.to_bytes())
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        begin, _ = header[f"layers.1.{name}"]["data_offsets"]
        begin += 8 + length
        data[begin : begin + replacement.nbytes] = replacement.tobytes()
        with pytest.raises(PolicyFileError, match=message):
            sa.load(reseal(bytes(data)))


def edited(change: dict[str, str]) -> bytes:
    """A file with other metadata strings, sealed unless the change is to the seal itself."""
    data = example().to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"].update(change)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file = len(text).to_bytes(8, "little") + text + data[8 + length :]
    return file if "checksum" in change else reseal(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": "3"}, "reads versions 1 to 2, the file has 3; a newer sparseagent"),
        ({"format_version": "one"}, "format_version: expected a number"),
        ({"format": "other"}, "format: expected 'sparseagent'"),
        ({"spec": "{"}, "damaged policy"),
        ({"spec": "[]"}, "damaged policy"),
        ({"spec": '{"layers": 3}'}, "damaged policy"),
        ({"spec": "[" * 200_000 + "]" * 200_000}, "damaged policy: RecursionError"),
        ({"checksum": "0"}, "checksum: expected 64 digits"),
        ({"checksum": "\ud800" * 64}, "unreadable header"),
    ],
)
def test_metadata(change: dict[str, str], message: str) -> None:
    with pytest.raises(PolicyFileError, match=message):
        sa.load(edited(change))


Change = Callable[[dict[str, Any], dict[str, Any]], object]


def forged(change: Change) -> bytes:
    """A sealed file after `change(spec, tensors)`: whole and consistent but for that."""
    data = example(head=sa.Argmax()).to_bytes()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    spec, tensors = json.loads(metadata["spec"]), load_tensors(data)
    change(spec, tensors)
    return reseal(save_tensors(tensors, metadata={**metadata, "spec": json.dumps(spec)}))


def of_type(name: str, dtype: Any) -> Change:
    return lambda spec, tensors: tensors.update({name: tensors[name].astype(dtype)})


def reshaped(name: str, *shape: int) -> Change:
    return lambda spec, tensors: tensors.update({name: tensors[name].reshape(shape)})


def without_rows(spec: dict[str, Any], tensors: dict[str, Any]) -> None:
    spec["layers"][0]["shape"] = [0, 9]
    tensors["layers.0.weight"] = np.zeros((0, 9), np.float32)
    tensors["layers.0.bias"] = np.zeros(0, np.float32)


def without_golden_rows(spec: dict[str, Any], tensors: dict[str, Any]) -> None:
    for name in ("observations", "outputs", "actions"):
        tensors[f"golden.{name}"] = tensors[f"golden.{name}"][:0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda spec, _: spec["layers"][0].update(shape=[31]),
            r"ops\[1\] \(linear\): expected shape \(out",
        ),
        (
            lambda spec, _: spec["layers"][1].update(shape=[31]),
            r"ops\[2\] \(linear\): expected shape \(out",
        ),
        (without_rows, "x1: expected 0 <= start < stop"),
        (without_golden_rows, r"golden\.observations: expected float32 \(1, 9\), got .* \(0, 9\)"),
        (of_type("golden.observations", np.float64), r"golden\.observations: .*got float64"),
        (
            lambda _, tensors: tensors.update(
                {"golden.outputs": tensors["golden.outputs"].view(np.int32)}
            ),
            r"golden\.outputs: expected float32 \(4, 3\), got int32",
        ),
        (reshaped("golden.outputs", 12), r"golden\.outputs: .*got float32 \(12,\)"),
        (reshaped("golden.outputs", 3, 4), r"golden\.outputs: .*got float32 \(3, 4\)"),
        (of_type("golden.actions", np.float64), r"golden\.actions: expected int64 \(4,\), got fl"),
        (reshaped("golden.actions", 4, 1), r"golden\.actions: .*got int64 \(4, 1\)"),
        (lambda _, tensors: tensors.pop("golden.actions"), "expected observations, outputs and"),
    ],
)
def test_forged_parts_are_named(change: Change, message: str) -> None:
    with pytest.raises(PolicyFileError, match=message):
        sa.load(forged(change))


def test_a_failed_self_test_is_an_error() -> None:
    data = bytearray(example().to_bytes())
    length = int.from_bytes(data[:8], "little")
    begin = json.loads(data[8 : 8 + length])["golden.outputs"]["data_offsets"][0] + 8 + length
    data[begin] ^= 1
    with pytest.raises(PolicyFileError, match="golden outputs bit for bit"):
        sa.load(reseal(bytes(data)))


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sa.load(tmp_path / "absent.safetensors")
    path = tmp_path / "note.txt"
    path.write_text("this is not a policy file at all")
    with pytest.raises(ValueError, match=r"note\.txt"):
        sa.load(path)
