"""Zips that were made to hang, to fill the memory, or to end in another error than ValueError."""

from __future__ import annotations

import copy
import pickle
import struct
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_models import OBSERVED, make_model
from zips import (
    NESTED,
    SECONDS,
    Files,
    assert_refused,
    coded,
    with_data,
    write,
)

import sparseagent as sa
from sparseagent.convert.inert_pickle import read_pickle
from sparseagent.convert.pickled_numpy import array, number


@pytest.mark.parametrize(
    "key", ["policy_class", "policy_kwargs", "observation_space", "action_space"]
)
def test_a_tree_without_end_is_described_in_a_word(
    key: str, saved: dict[str, Files], tmp_path: Path
) -> None:
    files = with_data(saved["PPO"], **{key: coded(NESTED)})
    assert_refused(write(tmp_path / "m.zip", files), f"{key}: expected .*got a tuple")


@pytest.mark.parametrize("place", ["dtype", "order", "shape", "bytes", "n"])
def test_a_tree_without_end_inside_an_array(place: str) -> None:
    """In each field of an array in turn, and for a number."""
    deep = NESTED[2:-1]
    fields = {
        "dtype": b"cnumpy\ndtype\n(U\x02f4tR(K\x03U\x01<tb",
        "shape": b"(K\x01t",
        "bytes": b"C\x04\0\0\0\0",
    }
    if place == "order":
        fields["dtype"] = b"cnumpy\ndtype\n(U\x02f4tR(K\x03" + deep + b"tb"
    elif place == "dtype":
        fields["dtype"] = b"cnumpy\ndtype\n(" + deep + b"tR"
    elif place in fields:
        fields[place] = deep
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\n(tR(K\x01"
        + fields["shape"] + fields["dtype"] + b"\x89" + fields["bytes"] + b"tb."
    )  # fmt: skip
    if place == "n":
        with pytest.raises(ValueError, match="thing: expected a pickled array of numbers"):
            number("thing", read_pickle("thing", NESTED))
        return
    with pytest.raises(ValueError, match="thing: expected a pickled array of numbers"):
        array("thing", read_pickle("thing", content))


def test_an_absurd_shape_costs_nothing() -> None:
    """`10^9 * (1,)` would be a tuple of 8 GB, and 10^4000 a number to multiply with."""
    for shape in (b"(J\xff\xff\xff\x7fK\x01\x85t", b"(I" + b"9" * 4000 + b"\nt", b"(K\xffK\xfft"):
        content = (
            b"cnumpy.core.multiarray\n_reconstruct\n(tR(K\x01" + shape
            + b"cnumpy\ndtype\n(U\x02f4tR(K\x03U\x01<tb\x89C\x04\0\0\0\0tb."
        )  # fmt: skip
        with pytest.raises(ValueError, match=r"thing: expected .* does not fit 4 bytes"):
            array("thing", read_pickle("thing", content))


def test_long_names_and_control_characters_do_not_reach_the_terminal(
    saved: dict[str, Files], tmp_path: Path
) -> None:
    name = b"\x1b[31m" + b"x" * 100_000
    pickled = b"\x80\x04\x8c\x01mX" + struct.pack("<I", len(name)) + name + b"\x93."
    path = write(tmp_path / "m.zip", with_data(saved["PPO"], policy_class=coded(pickled)))
    assert_refused(path, "policy_class: expected .* got m.")
    with pytest.raises(ValueError, match="policy_class") as caught:
        sa.from_sb3(path, vecnormalize=False)
    assert "\x1b" not in str(caught.value)
    unknown = write(tmp_path / "n.zip", with_data(saved["PPO"], policy_kwargs={"x" * 10_000: 1}))
    assert_refused(unknown, "policy_kwargs: expected those of an MlpPolicy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04" + b"]" * 50_001 + b".", "50,000 operations"),
        (b"\x80\x04}(" + b"K\x01\x85N" * 12_000 + b"u.", "too many tuples"),
        (b"\x80\x04}" + b"(" + b"K\x01" * 2000 + b"tNs.", "too many tuples as keys, or too long"),
        (b"\x80\x04}\x8b" + struct.pack("<i", 100) + b"\x7f" * 100 + b"Ns.", "a key is neither"),
        # A list or tuple of 9,000, copied by each of as many calls: 650 MB.
        (b"\x80\x04](" + b"N" * 9000 + b"eq\0" + b"Nh\0R" * 9000 + b".", "no tuple"),
        (b"\x80\x04(" + b"N" * 9000 + b"tq\0" + b"Nh\0}\x92" * 9000 + b".", "too many arguments"),
        (b"S'\\<'\n.", None),  # an odd escape: a warning of Python's
        (b"\x80\x04" + b"K\x01" + b"\x85" * 49_000 + b".", None),  # deep, but only read
    ],
)
def test_pickles_that_cost_time(content: bytes, message: str | None) -> None:
    start = time.perf_counter()
    if message is None:
        read_pickle("thing", content)
    else:
        with pytest.raises(ValueError, match=message):
            read_pickle("thing", content)
    assert time.perf_counter() - start < SECONDS


# ------------------------------------------------------------------------------------ the zip


@pytest.mark.parametrize("member", ["data", "policy.pth"])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb(member: str, method: int, saved: dict[str, Files], tmp_path: Path) -> None:
    """100 MB of zeros, declared as such."""
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in saved["PPO"].items():
            packed = name == member
            archive.writestr(
                name, bytes(100_000_000) if packed else content, method if packed else None, 1
            )
    assert path.stat().st_size < 1_000_000
    assert_refused(path, rf"{member}: expected (at most [\d,]+ bytes|a member that is stored)")


def lying(content: bytes, member: bytes, size: int) -> bytes:
    """The zip with another declared size of a member, in both places that declare it."""
    changed = bytearray(content)
    for signature, name, place in ((b"PK\x03\x04", 30, 22), (b"PK\x01\x02", 46, 24)):
        at = changed.find(signature)
        while changed[at + name : at + name + len(member)] != member:
            at = changed.find(signature, at + 1)
        changed[at + place : at + place + 4] = struct.pack("<I", size)
    return bytes(changed)


def test_a_bomb_that_declares_a_small_size(saved: dict[str, Files], tmp_path: Path) -> None:
    """zipfile alone would unpack all of it before it cuts off what was not declared."""
    import tracemalloc

    files = {"data": b"{}" + b" " * 200_000_000, **{"policy.pth": saved["PPO"]["policy.pth"]}}
    path = write(tmp_path / "m.zip", files, zipfile.ZIP_DEFLATED)
    path.write_bytes(lying(path.read_bytes(), b"data", 2))
    tracemalloc.start()
    assert_refused(path, "expected a sound member|as declared")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("size", [0, 5, 60_000])
def test_other_sizes_than_declared(size: int, saved: dict[str, Files], tmp_path: Path) -> None:
    path = write(tmp_path / "m.zip", saved["PPO"])
    path.write_bytes(lying(path.read_bytes(), b"data", size))
    assert_refused(path, "data: ")


def test_damage_in_the_layout(saved: dict[str, Files], tmp_path: Path) -> None:
    files, path = saved["PPO"], tmp_path / "m.zip"
    sound = write(path, files).read_bytes()
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    at = sound.find(files["policy.pth"])
    path.write_bytes(sound[: at + 900] + b"#" + sound[at + 901 :])
    assert_refused(path, r"policy.pth: expected a sound member: Bad CRC-32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the double name as well
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in [*files.items(), ("data", b"{}")]:
                archive.writestr(name, content)
    assert_refused(path, "members with different names")
    encrypted = bytearray(sound)
    encrypted[directory + 8] |= 1
    encrypted[6] |= 1
    path.write_bytes(encrypted)
    assert_refused(path, "data: expected a member that is stored or deflated and not encrypted")
    overlapping = bytearray(sound)
    second = sound.find(b"PK\x01\x02", directory + 1)
    overlapping[second + 42 : second + 46] = struct.pack("<I", 10)
    path.write_bytes(overlapping)
    assert_refused(path, "members that do not overlap")


def test_a_million_members(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    count = 500_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 9, 9, count * len(entry), 0, 0)
    path.write_bytes(entry * count + end)
    assert_refused(path, "a zip of at most 10,000 members")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 100_000,
        b'{"use_sde": 1e999, "policy_kwargs": {}}',
        b"\xff\xfe\x00",
        b"NaN",
        b"{}",
    ],
)
def test_data_that_is_no_model(data: bytes, saved: dict[str, Files], tmp_path: Path) -> None:
    assert_refused(write(tmp_path / "m.zip", {**saved["PPO"], "data": data}), "m.zip|policy_class")


FILLS = {
    "lists": b"[],",
    "nested": b"[" * 300 + b"]" * 300 + b",",
    "dicts": b'{"":{"":{}}},',
    "escapes": '"Ā\\nĀ\\n",'.encode(),
    "numbers": b"1.5,",
}


def filled(data: bytes, unit: bytes, costly: int, size: int) -> bytes:
    """`data` with one more entry: so many `unit`s as `costly` signs allow, and a long text."""
    count = costly // sum(map(unit.count, (b"[", b"{", b",", b":", b"\\")))
    count = min(count, (size - len(data) - 100) // len(unit))
    body = data[:-1] + b', "x": [' + (unit * count)[:-1] + b'], "y": "'
    return body + b"a" * (size - len(body) - 10) + '😀"}'.encode()


@pytest.mark.parametrize("unit", FILLS)
def test_the_dearest_data_costs_little(unit: str, saved: dict[str, Files], tmp_path: Path) -> None:
    """Three MB of JSON in lists took 110 MB, eight took 370 MB and seconds."""
    import tracemalloc

    files = saved["PPO"]
    most, path = 8 << 20, tmp_path / "m.zip"
    write(path, {**files, "data": filled(files["data"], FILLS[unit], most, most)})
    assert_refused(path, "data: expected at most 100,000 lists, entries, escapes")
    write(path, {**files, "data": filled(files["data"], FILLS[unit], 99_000, most)})
    start = time.process_time()
    sa.from_sb3(path, vecnormalize=False)
    assert time.process_time() - start < 1
    tracemalloc.start()
    sa.from_sb3(path, vecnormalize=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150_000_000


def test_agents_are_far_below_the_limit_of_lists(saved: dict[str, Files]) -> None:
    for files in saved.values():
        assert sum(map(files["data"].count, (b"[", b"{", b",", b":", b"\\"))) < 2_000


WRONG: list[Any] = [
    *(None, True, -1, 0, 10**300, 1e308, float("nan"), float("inf"), "", "x" * 10_000),
    *([], {}, [[[]]], {":serialized:": 1}, {":serialized:": "A"}, {":serialized:": "gARLAS4="}),
]


READ = (
    *("policy_class", "policy_kwargs", "observation_space", "action_space", "use_sde"),
    *("clip_range", "policy_delay", "target_noise_clip", "num_timesteps", "_last_original_obs"),
)


@pytest.mark.parametrize("algorithm", ["PPO", "DQN", "SAC"])
def test_any_entry_may_be_anything(algorithm: str, saved: dict[str, Files], tmp_path: Path) -> None:
    files = saved[algorithm]
    for key in READ:
        for value in WRONG:
            path = write(tmp_path / "m.zip", with_data(files, **{key: value}))
            try:
                sa.from_sb3(path, vecnormalize=False)
            except ValueError as error:
                assert len(str(error)) < 1000  # noqa: PT017 - not all of it is read


@pytest.mark.parametrize("key", ["squash_output", "clip_mean", "normalize_images", "activation_fn"])
def test_keyword_arguments_may_be_anything(
    key: str, saved: dict[str, Files], tmp_path: Path
) -> None:
    for value in ["x", [], {"a": 1}, 10**300, float("nan"), -1]:
        files = with_data(saved["PPO"], policy_kwargs={key: value}, use_sde=True)
        path = write(tmp_path / "m.zip", files)
        if key != "clip_mean" or not isinstance(value, int | float):
            assert_refused(path, key)


@pytest.mark.parametrize("bound", [np.nan, 2.0])
def test_bounds_that_are_none(bound: float, saved: dict[str, Files], tmp_path: Path) -> None:
    space = copy.deepcopy(OBSERVED)
    space.low[1], space.high[1] = bound, 1.0
    files = with_data(saved["PPO"], observation_space=coded(pickle.dumps(space)))
    assert_refused(write(tmp_path / "m.zip", files), "observation_space: expected low <= high")


def test_statistics_beyond_float32_do_not_overflow() -> None:
    given = {"mean": np.full(5, 1e300), "var": np.ones(5), "epsilon": 1e-8, "clip_obs": 10.0}
    policy = sa.from_sb3(make_model("PPO"), vecnormalize=given)
    assert policy.golden is not None


@pytest.mark.parametrize("name", ["Threshold", "MultiheadAttention", "torch", "F", "warnings"])
def test_names_that_are_no_activation(name: str, saved: dict[str, Files], tmp_path: Path) -> None:
    pickled = b"\x80\x02}U\x0dactivation_fnctorch.nn.modules.activation\n" + name.encode() + b"\ns."
    path = write(tmp_path / "m.zip", with_data(saved["PPO"], policy_kwargs=coded(pickled)))
    assert_refused(path, "activation_fn: expected a class of torch.nn")


# -------------------------------------------------------------------------------- statistics


def npz(path: Path, header: bytes, body: bytes = b"") -> Path:
    magic = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    members = {f"{key}.npy": magic + body for key in ("mean", "var", "epsilon", "clip_obs")}
    return write(path, members, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }\n" % (b"9" * 500),
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        b"(" * 5000,
        b"{'descr': " + b"-" * 9000 + b"1}",
        b"'''",
        b"",
    ],
)
def test_statistics_that_lie(header: bytes, tmp_path: Path) -> None:
    model = make_model("PPO")
    with pytest.raises(ValueError, match="mean: expected an array of numbers"):
        sa.from_sb3(model, vecnormalize=npz(tmp_path / "v.npz", header))


def test_statistics_that_are_no_zip_or_a_bomb(tmp_path: Path) -> None:
    model, path = make_model("PPO"), tmp_path / "v.npz"
    path.write_bytes(b"PK\x05\x06")
    with pytest.raises(ValueError, match="expected a zip"):
        sa.from_sb3(model, vecnormalize=path)
    npz(path, b"{}", bytes(100_000_000))
    with pytest.raises(ValueError, match="expected at most"):
        sa.from_sb3(model, vecnormalize=path)
