"""Files: writing so that a failure leaves the old one whole, and arrays with a header in one `.npz` without pickle."""

from __future__ import annotations

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

_HEADER = "header"


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it replaces `path`, on any failure it is removed.

    The folder is made if it is missing. `mode` is "w" (UTF-8 text) or "wb". Raises OSError (naming the file) when the
    folder cannot be written or the disk is full; then `path` still holds what it held before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_arrays(path: str | os.PathLike[str], header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and a JSON header as one uncompressed `.npz` without pickle. Atomic: see `atomic_write`."""
    packed = np.frombuffer(json.dumps(header).encode("utf-8"), dtype=np.uint8)
    with atomic_write(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{_HEADER: packed, **arrays})


def load_arrays(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save_arrays` wrote with `header["format"] == kind`: the header and the arrays.

    Raises FileNotFoundError, or ValueError, naming the file, for one that is truncated, of another kind, compressed,
    or holds pickled objects. Nothing in the file is executed, and no array is read whose declared size is not really
    there.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if _HEADER not in members:
                raise ValueError("it has no header")
            header = json.loads(_read_member(archive, members.pop(_HEADER)).tobytes())
            if not isinstance(header, dict) or header.get("format") != kind:
                found = header.get("format") if isinstance(header, dict) else None
                raise ValueError(f"its format is {found!r}")
            return header, {name: _read_member(archive, info) for name, info in members.items()}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is not a {kind!r} file, or damaged: {error}") from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if info.compress_type != zipfile.ZIP_STORED or not info.filename.endswith(".npy"):
        raise ValueError(f"member {info.filename!r} is compressed or no array")
    if info.file_size > os.path.getsize(archive.filename or ""):
        raise ValueError(f"member {info.filename!r} declares {info.file_size} bytes, more than the file has")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"member {info.filename!r} has version {version}")
        if dtype.hasobject:
            raise ValueError(f"member {info.filename!r} holds pickled objects, which are never loaded")
        if math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise ValueError(f"member {info.filename!r} declares {shape} of {dtype}, which is not its size")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
