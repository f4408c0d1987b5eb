"""Files of tensors that lie, cost more than they hold, or are damaged; and sound ones."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_models import make_model
from torch import nn
from zips import (
    NESTED,
    Files,
    assert_refused,
    inner,
    with_data,
    with_tensors,
    write,
)

from sparseagent.convert.torch_file import TensorFile


def test_tensors_are_those_of_torch(saved: dict[str, Files]) -> None:
    for files in saved.values():
        expected = torch.load(io.BytesIO(files["policy.pth"]), weights_only=True)
        found = TensorFile("policy.pth", files["policy.pth"])
        assert list(found) == list(expected)
        for key, tensor in expected.items():
            np.testing.assert_array_equal(found[key], tensor.numpy())


def test_views_and_parameters_are_read_as_torch_reads_them() -> None:
    numbers = torch.arange(24.0)
    tensors = {
        "part": numbers[4:10].reshape(2, 3),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "steps": torch.arange(12.0)[::3],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    found = TensorFile("policy.pth", buffer.getvalue())
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(found[key], tensor.detach().numpy())


def huge(tensors: dict[str, Any]) -> None:
    """A weight of 10^12 numbers, all of them one number of the file."""
    tensors["action_net.weight"] = torch.zeros(1).expand(1_000_000, 1_000_000)


def shared(tensors: dict[str, Any]) -> None:
    """Sixty layers of a million weights, all of them the same million."""
    weight, bias = torch.zeros(1000, 1000), torch.zeros(1000)
    for place in range(4, 120, 2):
        tensors[f"mlp_extractor.policy_net.{place}.weight"] = weight
        tensors[f"mlp_extractor.policy_net.{place}.bias"] = bias


def deep(tensors: dict[str, Any]) -> None:
    for place in range(0, 2000, 2):
        tensors[f"mlp_extractor.policy_net.{place}.weight"] = torch.zeros(1, 1)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (huge, "action_net.weight: expected a tensor that lies in its storage of 1 numbers"),
        (shared, "numbers of their own|inputs"),
        (deep, "at most 64 layers"),
        (lambda t: t.update({"action_net.weight": 3}), "action_net.weight: got 3"),
        (
            lambda t: t.update({"action_net.weight": torch.zeros(3, 16).to_sparse()}),
            "got a pickled",
        ),
        (lambda t: t.update({"action_net.weight": torch.zeros([1] * 9)}), "lies in its storage"),
        (
            lambda t: t.update({"action_net.weight_orig": t.pop("action_net.weight")}),
            "expected the mask",
        ),
    ],
)
def test_tensors_that_cost_more_than_the_file(
    edit: Callable[[dict[str, Any]], Any], message: str, saved: dict[str, Files], tmp_path: Path
) -> None:
    path = write(tmp_path / "m.zip", with_tensors(saved["PPO"], edit))
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update({"archive/data.pkl": NESTED}), "expected a dict of tensors, got a tup"),
        (lambda m: m.update({"archive/data.pkl": pickle.dumps({1: 2})}), "tensors by name"),
        (lambda m: m.update({"archive/data.pkl": pickle.dumps({"a": [1]})}), "a: got a list"),
        (lambda m: m.update({"other/data.pkl": b"."}), "one data.pkl"),
        (lambda m: m.pop("archive/data.pkl"), "one data.pkl"),
        (lambda m: m.pop("archive/data/3"), "data/3: expected such a member"),
        (lambda m: m.update({"archive/data/3": b"1234"}), "a storage of the stated size, got 4"),
        (lambda m: m.update({"archive/byteorder": b"big"}), "little-endian"),
    ],
)
def test_damaged_tensor_files(
    edit: Callable[[Files], Any], message: str, saved: dict[str, Files], tmp_path: Path
) -> None:
    assert_refused(write(tmp_path / "m.zip", inner(saved["PPO"], edit)), message)


@pytest.mark.parametrize(
    "place",
    [b"K\x00K\x01\x85\x88", b"K\x00\x88K\x01\x85", b"NK\x01\x85K\x01\x85", b"K\x00K\x01\x85)",
     b"K\x09K\x00\x85K\x01\x85", b"K\x00M\xff\xff\x85K\x00\x85", b"K\x00K\x02\x85K\xff\x85"],
)  # fmt: skip
def test_tensors_that_lie_nowhere(place: bytes) -> None:
    """Offset, shape and strides, each of a wrong kind or beyond the storage of three numbers."""
    head = b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n("
    storage = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x03tQ"
    members = {"archive/data.pkl": head + storage + place + b"tRs.", "archive/data/0": bytes(12)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"policy.pth: a: expected a (shape and|tensor that lies)"):
        TensorFile("policy.pth", buffer.getvalue())["a"]


@pytest.mark.parametrize("clip_mean", [0.0, -1.0, float("nan")])
def test_a_mean_without_bounds(clip_mean: float, tmp_path: Path) -> None:
    model = make_model("SAC", use_sde=True)
    model.save(tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files = with_data(files, policy_kwargs={"clip_mean": clip_mean})
    assert_refused(write(tmp_path / "m.zip", files), "clip_mean: expected more than 0")


def test_tensors_hidden_in_a_hash(saved: dict[str, Files], tmp_path: Path) -> None:
    """A tuple of shared tuples as a key: torch's own loader never comes back from its hash."""
    content = b"\x80\x04}" + NESTED[2:-1] + b"K\x02s."
    files = inner(saved["PPO"], lambda members: members.update({"archive/data.pkl": content}))
    assert_refused(write(tmp_path / "m.zip", files), "a key is neither simple")
