"""Stable-Baselines3's zips: damaged members, pickles with other opcodes, sizes that lie."""

from __future__ import annotations

import base64
import io
import json
import pickletools
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from mutations import HOSTILE, damage_bytes, damage_tree, pick, refused, to_json
from stable_baselines3 import DQN, PPO, SAC

import sparseagent as sa

torch.set_num_threads(1)

_READ = ("policy_class", "observation_space", "action_space", "policy_kwargs")
_MEMORY = 1 << 30  # torch and zlib included

Members = dict[str, bytes]


class Nothing(gymnasium.Env[Any, Any]):
    """An environment to make agents for."""

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.observation_space = spaces.Box(-1, 1, (3,), np.float32)
        self.action_space = action_space


def members_of(content: bytes) -> Members:
    """The files in a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(rng: np.random.Generator, members: Members) -> bytes:
    """A zip of them, now and then compressed, or with one twice."""
    kind = pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Target:
    """See `fuzz.Target`."""

    def __init__(self) -> None:
        small = {"policy_kwargs": {"net_arch": [4], "activation_fn": torch.nn.ELU}}
        box = spaces.Box(-1, 1, (2,), np.float32)
        models = (
            PPO("MlpPolicy", Nothing(box), n_steps=8, batch_size=8, **small),
            DQN("MlpPolicy", Nothing(spaces.Discrete(2)), buffer_size=4, **small),
            SAC("MlpPolicy", Nothing(box), buffer_size=4, **small),
        )
        self.zips = [saved(model) for model in models]
        self.folder = tempfile.TemporaryDirectory()

    def case(self, rng: np.random.Generator) -> bytes:
        """One or two changes within the members, or to the zip as a whole."""
        members = dict(pick(rng, self.zips))
        for _ in range(int(pick(rng, (1, 1, 2)))):
            damage(rng, members)
        whole = zipped(rng, members)
        return damage_bytes(rng, whole) if rng.random() < 0.15 else whole

    def check(self, content: bytes) -> bool:
        """Refused in one of the documented ways, or a policy that runs and can be saved."""
        path = Path(self.folder.name) / "model.zip"
        path.write_bytes(content)
        try:
            policy = sa.from_sb3(path)
        except (TypeError, ValueError) as error:
            return refused(error)
        sa.compile(policy, tune=0)(np.ones((2, policy.input_size), np.float32))
        sa.load(policy.to_bytes())
        return True

    def memory(self, content: bytes) -> int:
        """Generous, but no zip bomb fits."""
        return _MEMORY + 64 * len(content)


def saved(model: Any) -> Members:
    """The members that conversion reads."""
    buffer = io.BytesIO()
    model.save(buffer)
    members = members_of(buffer.getvalue())
    return {name: members[name] for name in ("data", "policy.pth", "system_info.txt")}


def damage(rng: np.random.Generator, members: Members) -> None:
    """One change, in place."""
    what = rng.random()
    if what < 0.35:
        damage_pickle(rng, members)
    elif what < 0.6:
        members["data"] = damaged_data(rng, members.get("data", b"{}"))
    elif what < 0.9:
        members["policy.pth"] = damaged_tensors(rng, members.get("policy.pth", b""))
    elif what < 0.95:
        name = pick(rng, ("data", "policy.pth"))
        members[name] = damage_bytes(rng, members.get(name, b""))
    else:
        name = pick(rng, ("data", "policy.pth"))
        members.pop(name, None)
        members[pick(rng, ("data", "policy.pth", "x", "../x"))] = pick(rng, (b"", b"\0" * 100_000))


def damaged_data(rng: np.random.Generator, data: bytes) -> bytes:
    """The JSON with one place changed, one that is read as a rule."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return damage_bytes(rng, data)
    key = pick(rng, _READ)
    if isinstance(tree, dict) and key in tree and rng.random() < 0.7:
        tree[key] = damage_tree(rng, tree[key])
    else:
        tree = damage_tree(rng, tree)
    return to_json(tree).encode()


def damage_pickle(rng: np.random.Generator, members: Members) -> None:
    """One of the pickles in the JSON: other bytes, or its opcodes taken out, doubled or moved."""
    try:
        tree = json.loads(members["data"])
        entry = tree[pick(rng, _READ)]
        content = base64.b64decode(entry[":serialized:"])
        entry[":serialized:"] = base64.b64encode(damaged_pickle(rng, content)).decode()
    except (KeyError, TypeError, ValueError, RecursionError):
        return  # damaged before
    members["data"] = json.dumps(tree).encode()


def damaged_pickle(rng: np.random.Generator, content: bytes) -> bytes:
    """Other bytes, or opcodes taken out, doubled, moved or put in."""
    if rng.random() < 0.4:
        return damage_bytes(rng, content)
    try:
        places = [place for _, _, place in pickletools.genops(content)]
    except ValueError:
        return damage_bytes(rng, content)
    pieces = [content[a:b] for a, b in zip(places, [*places[1:], len(content)], strict=True)]
    at, other = int(rng.integers(len(pieces))), int(rng.integers(len(pieces)))
    what = int(rng.integers(4))
    if what == 0:
        del pieces[at]
    elif what == 1:
        pieces[at:at] = [pieces[other]] * int(pick(rng, (1, 2, 500)))
    elif what == 2:
        pieces[at], pieces[other] = pieces[other], pieces[at]
    else:
        opcode = pick(rng, pickletools.opcodes).code.encode("latin1")
        pieces[at:at] = [opcode + rng.bytes(int(pick(rng, (0, 1, 4, 8))))]
    return b"".join(pieces)


def damaged_tensors(rng: np.random.Generator, content: bytes) -> bytes:
    """`policy.pth`: its own members changed, or the tensors in it."""
    if rng.random() < 0.5:
        try:
            inner = members_of(content)
            name = pick(rng, list(inner))
            is_pickle = name.endswith(".pkl")
            inner[name] = (damaged_pickle if is_pickle else damage_bytes)(rng, inner[name])
            return zipped(rng, inner)
        except Exception:  # whatever zipfile makes of what was damaged before
            return damage_bytes(rng, content)
    try:
        tensors = torch.load(io.BytesIO(content), weights_only=True)
        name = pick(rng, list(tensors))
        tensors[name] = other_tensor(rng, tensors[name])
    except Exception:  # whatever torch makes of it
        return damage_bytes(rng, content)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def other_tensor(rng: np.random.Generator, tensor: Any) -> Any:
    """Of another shape, type or layout, with numbers that are none, or no tensor at all."""
    changes = (
        tensor.double,
        tensor.half,
        lambda: tensor.to(torch.int64),
        lambda: tensor.to(torch.complex64),
        lambda: tensor.reshape(-1),
        lambda: tensor[None],
        lambda: tensor[:0],
        lambda: torch.full_like(tensor, float("nan")),
        lambda: torch.zeros_like(tensor),
        tensor.to_sparse,
        lambda: tensor[:1].expand(1 << 28, *tensor.shape[1:]),
        lambda: torch.zeros(()),
        lambda: torch.nn.Parameter(tensor),
        lambda: tensor.to("meta"),
        lambda: pick(rng, HOSTILE),
    )
    return pick(rng, changes)()
