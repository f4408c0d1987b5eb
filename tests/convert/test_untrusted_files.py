"""Files from strangers: nothing in them is run, and damage gives a ValueError."""

from __future__ import annotations

import base64
import collections
import contextlib
import io
import json
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_models import ASYMMETRIC, OBSERVED, Noise, make_model
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

import sparseagent as sa
from sparseagent.convert.inert_pickle import Call, Name, read_pickle
from sparseagent.convert.pickled_numpy import array, attributes, number

# What is tested here has nothing to do with normalisers; zips of untrained models tell of none.
pytestmark = pytest.mark.filterwarnings("ignore::sparseagent.convert.NormaliserWarning")


class Payload:
    """Unpickling this makes a folder: the proof that a file was run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.folder),))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was_run"


def test_the_payload_works(marker: Path) -> None:
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()


def poisoned_zip(
    tmp_path: Path,
    keys: set[str] | None,
    marker: Path,
    member: str = "",
    settings: dict[str, Any] | None = None,
) -> Path:
    """A saved model in which pickled entries, or a member of the zip, carry the payload."""
    path = tmp_path / "model.zip"
    make_model("PPO", **(settings or {})).save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(files["data"])
    code = base64.b64encode(cloudpickle.dumps(Payload(marker))).decode()
    for key, value in data.items():
        if isinstance(value, dict) and ":serialized:" in value and (keys is None or key in keys):
            value[":serialized:"] = code
    files["data"] = json.dumps(data).encode()
    if member:
        buffer = io.BytesIO()
        torch.save(collections.OrderedDict(weight=Payload(marker)), buffer)
        files[member] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("key", ["policy_class", "observation_space", "action_space"])
def test_a_poisoned_entry_is_refused_and_not_run(key: str, tmp_path: Path, marker: Path) -> None:
    path = poisoned_zip(tmp_path, {key}, marker)
    with pytest.raises(TypeError, match=rf"{key}: .*posix.mkdir"):
        sa.from_sb3(path)
    assert not marker.exists()


def test_poison_in_what_is_not_needed_does_no_harm(tmp_path: Path, marker: Path) -> None:
    used = {"policy_class", "observation_space", "action_space", "policy_kwargs"}
    path = poisoned_zip(tmp_path, None, marker)
    with zipfile.ZipFile(path) as archive:
        poisoned = json.loads(archive.read("data"))
    assert any(":serialized:" in value for value in poisoned.values() if isinstance(value, dict))
    clean = set(poisoned) - used
    path = poisoned_zip(tmp_path, clean, marker, member="policy.optimizer.pth")
    assert sa.from_sb3(path).metadata["algorithm"] == "PPO"
    assert not marker.exists()


def test_poisoned_keyword_arguments_are_refused(tmp_path: Path, marker: Path) -> None:
    activation = {"policy_kwargs": {"activation_fn": nn.ReLU}}
    path = poisoned_zip(tmp_path, {"policy_kwargs"}, marker, settings=activation)
    with pytest.raises(ValueError, match=r"policy_kwargs: expected a dict, got .*posix.mkdir"):
        sa.from_sb3(path)
    assert not marker.exists()


def test_everything_poisoned_and_everything_stated(tmp_path: Path, marker: Path) -> None:
    path = poisoned_zip(tmp_path, None, marker)
    policy = sa.from_sb3(
        path, algo="PPO", observation_space=OBSERVED, action_space=ASYMMETRIC, activation="tanh"
    )
    assert policy.input_size == 5
    assert not marker.exists()


def test_poisoned_tensors_are_refused_and_not_run(tmp_path: Path, marker: Path) -> None:
    path = poisoned_zip(tmp_path, set(), marker, member="policy.pth")
    with pytest.raises(ValueError, match=r"policy.pth: expected tensors alone"):
        sa.from_sb3(path)
    assert not marker.exists()


def test_poisoned_statistics_are_refused_and_not_run(tmp_path: Path, marker: Path) -> None:
    vec = VecNormalize(DummyVecEnv([lambda: Noise(OBSERVED, ASYMMETRIC)]))
    model = make_model("PPO", env=vec)
    path = tmp_path / "vec.pkl"
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(ValueError, match=r"expected a pickled .*VecNormalize, got .*posix.mkdir"):
        sa.from_sb3(model, vecnormalize=path)
    vec.old_reward = Payload(marker)
    vec.save(str(path))
    assert sa.from_sb3(model, vecnormalize=path).observation.scale is not None
    vec.obs_rms.mean = Payload(marker)
    vec.save(str(path))
    with pytest.raises(ValueError, match=r"mean: expected a pickled array.*posix.mkdir"):
        sa.from_sb3(model, vecnormalize=path)
    arrays: dict[str, Any] = {"var": np.ones(5), "epsilon": 1e-8, "clip_obs": 10.0}
    np.savez(tmp_path / "vec.npz", mean=np.array([Payload(marker)], object), **arrays)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        sa.from_sb3(model, vecnormalize=tmp_path / "vec.npz")
    assert not marker.exists()


def test_damaged_zips(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(b"no zip at all")
    with pytest.raises(ValueError, match="expected the zip of a Stable-Baselines3 model"):
        sa.from_sb3(path)
    for files in ({}, {"data": b"{}"}, {"data": b"{", "policy.pth": b""}, {"policy.pth": b""}):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        with pytest.raises(ValueError, match="expected the zip of a Stable-Baselines3 model"):
            sa.from_sb3(path)
    for data, policy in ((b"{}", b""), (b"{}", b"garbage"), (b"[]", None)):
        buffer = io.BytesIO()
        torch.save({}, buffer)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data", data)
            archive.writestr("policy.pth", buffer.getvalue() if policy is None else policy)
        with pytest.raises(ValueError, match=r"expected tensors alone|expected a JSON object"):
            sa.from_sb3(path)


def test_truncated_zips(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    make_model("DQN").save(path)
    content = path.read_bytes()
    for size in range(0, len(content) - 1, len(content) // 12):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="expected the zip of a Stable-Baselines3 model"):
            sa.from_sb3(path)


class Sample:
    """Has attributes of every plain kind."""

    def __init__(self) -> None:
        self.text, self.number, self.flag, self.nothing = "ü", -(2**70), True, None
        self.real, self.raw = 0.1, b"\x00\xff" * 200
        self.nested = [(1, 2), {"a": {"b"}}, frozenset({3})]
        self.ordered = collections.OrderedDict(x=1, y=2)
        self.queue = collections.deque([1, 2, 3], maxlen=9)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(protocol: int) -> None:
    sample = Sample()
    state = attributes("sample", read_pickle("sample", pickle.dumps(sample, protocol)))
    for key in ("text", "number", "nothing", "real"):
        assert state[key] == getattr(sample, key)
    assert number("flag", state["flag"]) == 1
    assert state["nested"][0] == (1, 2)
    assert isinstance(state["queue"], Call)
    assert state["queue"].callee == Name("collections", "deque")
    assert isinstance(state["ordered"], Call)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6.0).reshape(2, 3)[:, ::2],
        np.array([True, False]),
        np.arange(3, dtype=">i4"),
        np.zeros((0, 4), np.uint8),
        np.array(2.5),
        np.float32(0.1),
        np.int64(-7),
    ],
    ids=repr,
)
def test_arrays_of_every_protocol(value: Any, protocol: int) -> None:
    decoded = array("value", read_pickle("value", pickle.dumps(value, protocol)))
    np.testing.assert_array_equal(decoded, value)
    assert decoded.dtype == np.asarray(value).dtype.newbyteorder("=")
    assert decoded.shape == np.shape(value)


@pytest.mark.parametrize(
    "value", [np.array(["a"]), np.array([None]), np.array([1j]), np.array([object()]), [1.0], 1.0]
)
def test_what_is_no_array_of_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match="value: expected a pickled array of numbers"):
        array("value", read_pickle("value", pickle.dumps(value)))


def test_an_array_that_lies_about_its_size() -> None:
    content = pickle.dumps(np.zeros(3, np.float32), 4).replace(b"K\x03\x85", b"K\x07\x85")
    with pytest.raises(ValueError, match=r"shape \(7,\) does not fit 12 bytes"):
        array("value", read_pickle("value", content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"no pickle",
        b"\x80\x04K\x01",  # no STOP
        b"\x80\x04K\x01K\x02\x87.",  # stack underflow
        b"\x80\x04h\x05.",  # an empty place of the memo
        b"\x80\x04K\x01}b.",  # state for a number
        b"\x80\x04K\x01K\x02\x93.",  # a global named by numbers
        b"\x80\x04}])K\x01s.",  # a list as a key
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of 2^63
    ],
)
def test_damaged_pickles(content: bytes) -> None:
    with pytest.raises(ValueError, match="thing: expected a readable pickle"):
        read_pickle("thing", content)


@pytest.mark.parametrize(
    ("content", "opcode"),
    [
        (b"\x80\x04\x82\x01.", "EXT1"),
        (b"\x80\x02U\x01aQ.", "BINPERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
    ],
)
def test_refused_opcodes(content: bytes, opcode: str) -> None:
    with pytest.raises(ValueError, match=f"thing: .* opcode {opcode} is refused"):
        read_pickle("thing", content)


def test_shared_tuples_do_not_explode() -> None:
    """Nested 200 deep, each twice in the next: as a key, or in a message, 2^200 steps."""
    nested = b"K\x01" + b"2\x86" * 200
    with pytest.raises(ValueError, match="a key is neither simple"):
        read_pickle("thing", b"\x80\x04}" + nested + b"K\x02s.")
    with pytest.raises(ValueError, match="expected a pickled object with attributes, got a tuple"):
        attributes("thing", read_pickle("thing", b"\x80\x04" + nested + b"."))


STATISTICS = pickle.dumps(
    {"box": spaces.Box(-1, 2, (3,)), "n": np.int64(3), "text": "x", "list": [1, (2, 3)]}
)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_altered_pickles_give_a_tree_or_a_value_error(seed: int) -> None:
    choose = random.Random(seed)
    content = bytearray(STATISTICS)
    for _ in range(choose.randint(1, 6)):
        content[choose.randrange(len(content))] = choose.randrange(256)
    with contextlib.suppress(ValueError):
        tree = read_pickle("thing", bytes(content[: choose.choice([None, 40, 90])]))
        if isinstance(tree, dict) and "box" in tree:
            state = attributes("box", tree["box"])
            array("low", state.get("low"))
            number("n", tree.get("n"))
