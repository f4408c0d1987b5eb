"""Zips in parts: to take apart, to spoil, and to put together again."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import sparseagent as sa

#: Far more than any of these takes, far less than what they were made for.
SECONDS = 5.0
NESTED = b"\x80\x04K\x01" + b"2\x86" * 100 + b"."  # each tuple twice in the next: 2^100 leaves
Files = dict[str, bytes]


def write(path: Path, files: Files, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def with_data(files: Files, **entries: Any) -> Files:
    data = {**json.loads(files["data"]), **entries}
    return {**files, "data": json.dumps(data).encode()}


def with_tensors(files: Files, edit: Callable[[dict[str, Any]], Any]) -> Files:
    tensors = torch.load(io.BytesIO(files["policy.pth"]), weights_only=True)
    edit(tensors)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return {**files, "policy.pth": buffer.getvalue()}


def coded(pickled: bytes) -> dict[str, str]:
    return {":serialized:": base64.b64encode(pickled).decode()}


def assert_refused(path: Path, match: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=match) as caught:
        sa.from_sb3(path, vecnormalize=False)
    assert time.perf_counter() - start < SECONDS
    assert len(str(caught.value)) < 1000 + len(str(path))


def inner(files: Files, edit: Callable[[Files], Any]) -> Files:
    with zipfile.ZipFile(io.BytesIO(files["policy.pth"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return {**files, "policy.pth": buffer.getvalue()}
