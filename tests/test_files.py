"""Writing is all or nothing: the old file stays whole whatever goes wrong, and nothing half-written is left."""

from __future__ import annotations

import errno
import os
import stat

import numpy as np
import pytest

from rnnscratch import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("mode", "content"), [("w", "naïve 日本\n"), ("wb", b"\x00\xff")])
def test_what_was_written_is_there_and_nothing_else(mode, content, tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for text in (content * 2, content):
        with files.atomic_write(path, mode) as file:
            file.write(text)
    assert path.read_bytes() == (content if mode == "wb" else content.encode("utf-8"))
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_while_writing_leaves_the_old_file_whole(old, error, tmp_path):
    path = tmp_path / "file"
    if old:
        path.write_text(old)
    with pytest.raises(type(error)), files.atomic_write(path) as file:
        file.write("half of")
        file.flush()
        raise error
    assert names(tmp_path) == (["file"] if old else [])
    assert not old or path.read_text() == old


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_failure_at_the_end_leaves_the_old_file_whole(call, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "input/output error")

    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o600)  # another than a new file's
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="input/output.*file"), files.atomic_write(path) as file:
        file.write("new")
    assert path.read_text() == "old" and names(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_made_is_an_oserror_that_names_it(tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(OSError, match="file"), files.atomic_write(tmp_path / "file" / "below"):
        pass
    assert names(tmp_path) == ["file"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    with files.atomic_write(tmp_path / "ours"):
        pass
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_arrays_and_header_come_back_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.standard_normal((3, 2)),
        "empty": np.zeros((0, 4), np.float32),
        "z": rng.standard_normal(2) + 1j,
        "scalar": np.array(3),
        "fortran": np.asfortranarray(rng.standard_normal((3, 2))),
    }
    header = {"format": "kind 1", "text": "naïve", "list": [1, None, 0.1]}
    files.save_arrays(tmp_path / "f.npz", header, arrays)
    found, again = files.load_arrays(tmp_path / "f.npz", "kind 1")
    assert found == header and again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_another_kind_is_refused_and_a_missing_file_is_named(tmp_path):
    files.save_arrays(tmp_path / "f.npz", {"format": "kind 1"}, {})
    with pytest.raises(ValueError, match=r"f\.npz is not a 'kind 2' file, or damaged: its format is 'kind 1'"):
        files.load_arrays(tmp_path / "f.npz", "kind 2")
    with pytest.raises(FileNotFoundError, match=r"g\.npz does not exist"):
        files.load_arrays(tmp_path / "g.npz", "kind 1")


@pytest.mark.parametrize("array", [np.array([{}], dtype=object), np.array(["x"]), np.zeros(2, "i4,f4")])
def test_what_could_not_be_read_is_not_written(array, tmp_path):
    with pytest.raises(TypeError, match="a has dtype .*, expected numbers"):
        files.save_arrays(tmp_path / "f.npz", {"format": "k"}, {"a": array})
    with pytest.raises(TypeError, match="of type set cannot be written"):
        files.save_arrays(tmp_path / "f.npz", {"format": "k", "x": {1}}, {})
    with pytest.raises(ValueError, match=r"JSON to write, expected 16,777,216 at most"):
        files.save_arrays(tmp_path / "f.npz", {"format": "k", "x": "a" * 2**24}, {})
    assert names(tmp_path) == []
