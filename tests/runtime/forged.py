"""Policy files with a seal that fits around changed content: what a malicious author hands out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load, save

#: Changes a spec and the arrays in place.
Change = Callable[[Any, dict[str, np.ndarray[Any, Any]]], object]


def forged(file: bytes, change: Change, to_json: Callable[[Any], str] = json.dumps) -> bytes:
    """The file with another content; `to_json` writes the spec."""
    length = int.from_bytes(file[:8], "little")
    metadata = json.loads(file[8 : 8 + length])["__metadata__"]
    spec, tensors = json.loads(metadata["spec"]), load(file)
    change(spec, tensors)
    zeros = "0" * 64
    blank = save(tensors, {**metadata, "spec": to_json(spec), "checksum": zeros})
    digest = hashlib.sha256(blank).hexdigest()
    return blank.replace(f'"{zeros}"'.encode(), f'"{digest}"'.encode(), 1)
