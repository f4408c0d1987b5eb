"""Reads a zip from a stranger: no member unpacks to more than the file can justify.

A zip states the size of each member twice and may lie; its members may overlap, so that one
compressed block counts a thousand times. Here nothing is unpacked beyond what was declared, and no
more is accepted than `RATIO` times the file (`FLOOR` for small files). Stable-Baselines3 and torch
store their members uncompressed; the ratio is for files that were packed again.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence

#: Bytes that any file may unpack to, however small it is.
FLOOR = 64 << 20
#: How many times its own size a larger file may unpack to.
RATIO = 16
_MOST_MEMBERS = 10_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_HEADER_BYTES = 30
_ENTRY_SIGNATURE = b"PK\x01\x02"
# What zipfile and zlib raise for damaged content.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Archive:
    """The members of a zip.

    Args:
        name: what messages call the file.
        content: its bytes.

    Raises:
        ValueError: no zip, a damaged one, or members that are double or overlap.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        self._left = max(FLOOR, RATIO * len(content))
        if content.count(_ENTRY_SIGNATURE) > _MOST_MEMBERS:
            raise ValueError(f"{name}: expected a zip of at most {_MOST_MEMBERS:,} members")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except _DAMAGE as error:
            raise ValueError(f"{name}: expected a zip: {error}") from error
        self._members = {info.filename: info for info in self._zip.infolist()}
        self._check_layout(self._zip.infolist())

    @property
    def names(self) -> Sequence[str]:
        """The members' names."""
        return tuple(self._members)

    def read(self, member: str, most: int) -> bytes:
        """The content of a member.

        Args:
            member: its name.
            most: bytes that it may have.

        Raises:
            ValueError: no such member, or one that is larger, damaged, encrypted, or packed in
                another way than stored or deflated.
        """
        name = f"{self._name}: {member[:100]}"
        info = self._members.get(member)
        if info is None:
            raise ValueError(f"{name}: expected such a member of the zip, got none")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise ValueError(
                f"{name}: expected a member that is stored or deflated and not encrypted"
            )
        allowed = min(most, self._left)
        if info.file_size > allowed:
            raise ValueError(
                f"{name}: expected at most {allowed:,} bytes, got a declared size of "
                f"{info.file_size:,}"
            )
        try:
            with self._zip.open(info) as stream:
                # One byte more than declared shows a lie; all at once, zipfile would unpack it.
                content = stream.read(info.file_size + 1)
        except _DAMAGE as error:
            raise ValueError(f"{name}: expected a sound member: {error}") from error
        if len(content) != info.file_size:
            raise ValueError(
                f"{name}: expected {info.file_size:,} bytes as declared, got {len(content):,}"
            )
        self._left -= len(content)
        return content

    def _check_layout(self, members: list[zipfile.ZipInfo]) -> None:
        if len(self._members) != len(members):
            raise ValueError(f"{self._name}: expected members with different names")
        ordered = sorted(members, key=lambda info: info.header_offset)
        starts = [*(info.header_offset for info in ordered), self._zip.start_dir]
        for info, following in zip(ordered, starts[1:], strict=True):
            if info.header_offset + _HEADER_BYTES + info.compress_size > following:
                raise ValueError(f"{self._name}: expected members that do not overlap")
