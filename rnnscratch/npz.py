"""Writing `.npz` files, and reading those that nobody vouches for.

Every byte has one place and one meaning, or the file is refused.

Python's `zipfile` and NumPy's reader take much more than `np.savez` writes: members that overlap or lie within each
other, headers that are Python expressions, pickles. Here a file is its members, stored one after the other, a directory
of them, and nothing else; so all members together are no larger than the file, and none is read before it is wanted.
The formats: PKWARE's APPNOTE 6.3, and numpy.lib.format 1.0.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

KINDS = "biufc"  # of dtypes that are read and written: truth values and numbers
END, END64, LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
ENTRY, LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    rb"\{'descr': '([<>|][A-Za-z]\d{0,5})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}(?:, \d{1,18}){0,31},?)?)\), \} *\n"
)


def write(file: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """What `np.savez` writes of arrays under any names, to an open file.

    NumPy before 2.0 leaves the archive open where it is interrupted, to be closed after the file.
    """
    archive = zipfile.ZipFile(file, "w")
    try:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    except BaseException:
        with suppress(ValueError):  # interrupted where a member opens or closes
            archive.close()
        raise
    archive.close()


class Member(NamedTuple):
    """Where the bytes of one array's `.npy` file lie."""

    start: int
    size: int
    checksum: int


class Npz:
    """The arrays of an open file of `size` bytes, by name. Raises ValueError for what np.savez does not write."""

    def __init__(self, file: Any, size: int):
        self._file, self._size = file, size
        self.members = self._directory()

    def _bytes(self, start: int, count: int) -> bytes:
        if not 0 <= start <= start + count <= self._size:
            raise ValueError(f"it ends before byte {start + count}")
        self._file.seek(start)
        found = self._file.read(count)
        if len(found) != count:
            raise ValueError(f"it ends before byte {start + count}")
        return found

    def _directory(self) -> dict[str, Member]:
        end = self._size - END.size
        signature, *disks, count, total, size, start, comment = END.unpack(self._bytes(end, END.size))
        if signature != b"PK\5\6" or comment:
            raise ValueError("it does not end as a .npz file")
        if start + size != end:  # it has the wide fields of more than 2 GB or 65,535 members
            end -= LOCATOR.size
            locator, _, place, _ = LOCATOR.unpack(self._bytes(end, LOCATOR.size))
            end -= END64.size
            record = END64.unpack(self._bytes(end, END64.size))
            signature, *_, count, total, size, start = record
            if locator != b"PK\6\7" or signature != b"PK\6\6" or place != end:
                raise ValueError("it does not end as a .npz file")
        if any(disks) or count != total or start + size != end:
            raise ValueError("its directory is not where it should be")
        directory, members, place, at = self._bytes(start, size), {}, 0, 0
        for _ in range(count):
            name, member, place, at = self._entry(directory, place, at)
            if name in members:
                raise ValueError(f"it holds {name!r} twice")
            members[name] = member
        if place != size or at != start:
            raise ValueError("its directory and its members leave bytes unaccounted for")
        return members

    def _entry(self, directory: bytes, place: int, at: int) -> tuple[str, Member, int, int]:
        """The name and bytes of the member whose entry is at `place` and which begins at `at`; both places after it."""
        if place + ENTRY.size > len(directory):
            raise ValueError("its directory is too short")
        entry = ENTRY.unpack_from(directory, place)
        signature, flags, method, checksum, packed, size, length, more, comment, offset = (
            entry[k] for k in (0, 3, 4, 7, 8, 9, 10, 11, 12, 16)
        )
        place += ENTRY.size
        stored, extra = directory[place : place + length], directory[place + length : place + length + more]
        if signature != b"PK\1\2" or len(stored) + len(extra) != length + more or comment:
            raise ValueError("its directory is damaged")
        name = stored.decode("utf-8")
        wide = [number for number in (size, packed, offset) if number == 0xFFFFFFFF]
        if wide:
            field = struct.Struct(f"<2H{len(wide)}Q")
            if len(extra) != field.size or field.unpack(extra)[:2] != (1, field.size - 4):
                raise ValueError(f"member {name!r} does not say how large it is")
            values = iter(field.unpack(extra)[2:])
            size, packed, offset = (next(values) if n == 0xFFFFFFFF else n for n in (size, packed, offset))
        if method or flags & ~0x800 or packed != size or not name.endswith(".npy"):
            raise ValueError(f"member {name!r} is compressed or no array")
        local = LOCAL.unpack(self._bytes(at, LOCAL.size))
        begin = at + LOCAL.size + local[9] + local[10]
        same = (b"PK\3\4", flags, 0, checksum) == (local[0], local[2], local[3], local[6])
        if offset != at or not same or self._bytes(at + LOCAL.size, local[9]) != stored:
            raise ValueError(f"member {name!r} is not where the directory says")
        if begin + size > self._size:
            raise ValueError(f"member {name!r} declares {size} bytes, more than the file has")
        member = Member(begin, size, checksum)
        return name.removesuffix(".npy"), member, place + length + more, begin + size

    def read(self, name: str) -> np.ndarray:
        """One array, in this machine's byte order. Raises ValueError for objects, or a wrong size or checksum."""
        start, size, checksum = self.members[name]
        head = self._bytes(start, min(size, len(MAGIC) + 2))
        if head[:-2] != MAGIC:
            raise ValueError(f"member {name!r} is no array of format 1.0")
        head += self._bytes(start + len(head), min(size - len(head), int.from_bytes(head[-2:], "little")))
        match = HEADER.fullmatch(head, len(MAGIC) + 2)
        if match is None or match[1] == b"|O":
            what = "holds pickled objects, which are never loaded" if b"O" in head else "has a header like no number's"
            raise ValueError(f"member {name!r} {what}")
        shape = tuple(int(number) for number in match[3].split(b",") if number)
        dtype = number_type(name, match[1].decode())
        count = math.prod(shape)
        if count * dtype.itemsize != size - len(head) or max(shape, default=0) > self._size:
            raise ValueError(f"member {name!r} declares {shape} of {dtype}, which is not its size")
        flat = np.empty(count, dtype)
        content = flat.view(np.uint8)
        self._file.seek(start + len(head))
        if self._file.readinto(content.data) != len(content) or zlib.crc32(content.data, zlib.crc32(head)) != checksum:
            raise ValueError(f"member {name!r} is not what was written: its checksum differs")
        if dtype.kind == "b" and (content > 1).any():
            raise ValueError(f"member {name!r} holds bytes that are neither true nor false")
        if not dtype.isnative:
            flat = flat.byteswap(inplace=True).view(dtype.newbyteorder("="))
        return flat.reshape(shape[::-1]).T if match[2] == b"True" else flat.reshape(shape)


def number_type(name: str, description: str) -> np.dtype:
    """The dtype that a header describes. Raises ValueError unless it is one of `KINDS`."""
    if description[1] in KINDS and len(description) < 5:
        try:
            return np.dtype(description)
        except TypeError:
            pass  # no type of this many bytes on this machine
    raise ValueError(f"member {name!r} is of type {description!r}, expected numbers")
