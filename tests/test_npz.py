"""What is no file of np.savez is refused, and takes no more time and memory than it is long."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from rnnscratch import files, npz

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "c": np.float32(3)}


def written(**arrays):
    file = io.BytesIO()
    np.savez(file, **(arrays or ARRAYS))
    return file.getvalue()


def read(content):
    archive = npz.Npz(io.BytesIO(content), len(content))
    return {name: archive.read(name) for name in archive.members}


def member(head, data=b""):
    """A .npy file with this header."""
    return npz.MAGIC + struct.pack("<H", len(head)) + head + data


def stored(*members):
    """A zip file of members, stored."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def test_what_savez_writes_is_read():
    found = read(written())
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_wide_fields_of_large_archives_are_read(monkeypatch):
    """As zipfile writes them beyond 2 GB, or 65,535 members."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    content = written()
    assert b"PK\6\6" in content
    np.testing.assert_array_equal(read(content)["a"], ARRAYS["a"])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i1", "u2", "i8", "f2", "f4", "f8", "c8", "c16"])
def test_numbers_of_either_byte_order_come_in_this_machines(kind, order):
    array = np.arange(4).astype(order + kind).reshape(2, 2)
    found = read(written(a=array, f=np.asfortranarray(array)))
    for name in "af":
        assert found[name].dtype.isnative
        np.testing.assert_array_equal(found[name], array)
    assert found["f"].flags.f_contiguous


def test_every_changed_byte_is_refused_or_changes_nothing():
    content = written()
    for at in range(len(content)):
        for value in (content[at] ^ 1, content[at] ^ 0x80, 0, 0xFF):
            changed = content[:at] + bytes([value]) + content[at + 1 :]
            try:
                found = read(changed)
            except ValueError:
                continue
            for name, array in ARRAYS.items():
                np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("size", [*range(0, 800, 7)])
def test_a_part_of_a_file_is_refused(size):
    content = written()
    with pytest.raises(ValueError):
        read(content[: min(size, len(content) - 1)])
    with pytest.raises(ValueError):
        read(content[min(size, len(content) - 1) + 1 :])
    with pytest.raises(ValueError):
        read(content + content[:size] + b"x")


HEAD = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        HEAD[:-1],
        HEAD.replace(b"<f8", b"|O"),
        HEAD.replace(b"<f8", b"<f3"),
        HEAD.replace(b"<f8", b"<U4"),
        HEAD.replace(b"<f8", b"<m8"),
        HEAD.replace(b"<f8", b"|V16"),
        HEAD.replace(b"'<f8'", b"[('a', '<f8')]"),
        HEAD.replace(b"(2,)", b"(-2,)"),
        HEAD.replace(b"(2,)", b"(3,)"),
        HEAD.replace(b"(2,)", b"(2.0,)"),
        HEAD.replace(b"(2,)", b"(" + b"1, " * 40 + b"2)"),
        HEAD.replace(b"(2,)", b"(" + b"9" * 5000 + b",)"),
        HEAD.replace(b"(2,)", b"(1000000000000000, 0)"),
        HEAD.replace(b"(2,)", b"(99999999999999999, 99999999999999999)"),
        HEAD.replace(b"False", b"None"),
        HEAD.replace(b"{", b"{" * 5000),
        HEAD.replace(b"'shape'", b"__import__('os').mkdir('x')"),
        b"\xff" * 60,
    ],
)
def test_a_header_that_savez_does_not_write_is_refused(head):
    with pytest.raises(ValueError, match="member 'a'"):
        read(stored(("a.npy", member(head, bytes(16)))))


def test_the_header_that_it_writes_is_taken():
    assert read(stored(("a.npy", member(HEAD, bytes(16)))))["a"].tolist() == [0.0, 0.0]
    assert read(stored(("a.npy", member(HEAD.replace(b"(2,)", b"(0, 2)")))))["a"].shape == (0, 2)


def test_truth_values_are_0_or_1():
    head = HEAD.replace(b"<f8", b"|b1")
    assert read(stored(("a.npy", member(head, b"\0\1"))))["a"].tolist() == [False, True]
    with pytest.raises(ValueError, match="neither true nor false"):
        read(stored(("a.npy", member(head, b"\0\2"))))


def test_two_members_of_one_name_are_refused():
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = stored(("a.npy", member(HEAD, bytes(16))), ("a.npy", member(HEAD, bytes(16))))
    with pytest.raises(ValueError, match="'a' twice"):
        read(content)


def overlapping(count, nested):
    """One block of 1 MB that `count` members share, or members of which each begins within the one before."""
    content = member(HEAD.replace(b"(2,)", b"(131072,)"), bytes(2**20))
    name, directory, body = b"a.npy", b"", b""
    for k in range(count):
        place = len(body) if nested or not k else 0
        if nested or not k:
            size = len(content)
            body += npz.LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(content), size, size, len(name), 0) + name
            body += content if k == count - 1 or not nested else b""
        fields = (b"PK\1\2", 20, 20, 0, 0, 0, 0, zlib.crc32(content), len(content), len(content))
        label = f"{k:03}.npy".encode() if not nested else name
        directory += npz.ENTRY.pack(*fields, len(label), 0, 0, 0, 0, 0, place) + label
    end = npz.END.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


@pytest.mark.parametrize("nested", [False, True])
def test_members_that_share_bytes_are_refused_before_they_are_read(nested, tmp_path):
    content = overlapping(200, nested)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_long_header_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, header=np.zeros(10**8, np.uint8))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"f\.npz .* header has 100,000,128 bytes, expected 67,108,864 at most"):
            files.load_arrays(path, "k")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_directory_of_many_members_takes_memory_like_its_length():
    content = stored(*((f"{k}.npy", b"") for k in range(20_000)))
    tracemalloc.start()
    try:
        archive = npz.Npz(io.BytesIO(content), len(content))
        assert tracemalloc.get_traced_memory()[1] < 6 * len(content)
    finally:
        tracemalloc.stop()
    assert len(archive.members) == 20_000


def test_an_array_is_read_into_no_more_than_its_own_memory(tmp_path):
    path = tmp_path / "f.npz"
    files.save_arrays(path, {"format": "k"}, {"a": np.ones(2**20)})
    tracemalloc.start()
    try:
        assert files.load_arrays(path, "k")[1]["a"].sum() == 2**20
        assert tracemalloc.get_traced_memory()[1] < 1.1 * 2**23
    finally:
        tracemalloc.stop()
    assert json.loads(np.load(path)["header"].tobytes()) == {"format": "k"}
