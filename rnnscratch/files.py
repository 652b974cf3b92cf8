"""Files: opened with care, written all or nothing, one process's at a time; arrays with a header, without pickle."""

from __future__ import annotations

import datetime
import errno
import json
import os
import platform
import re
import secrets
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from . import npz

JSON_LIMIT, JSON_MEMORY = 2**26, 450_000_000  # bytes of JSON that are read, and of what may become of them
_HEADER = "header"
_SIGN = 4096  # bytes that are read of the file which says who an owner is
_TEMPORARY = re.compile(r"\.rnnscratch-[0-9a-f]{16}\.tmp")
_HIDDEN = re.compile(rf"{_TEMPORARY.pattern}|\.(.*\.)?lock", re.DOTALL)


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path as its user means it: `~` is the home folder. Raises OSError where that is not known.

    Raises TypeError or ValueError for what is no path: None, an open file, an empty string.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path is {path!r:.60}, expected a string or a Path")
    given = os.fsdecode(path)
    if not given or "\0" in given:
        raise ValueError(f"path is {given!r:.60}, expected the name of a file or folder")
    try:
        os.fsencode(given)
    except UnicodeError as error:
        raise ValueError(f"path is {given!r:.60}, which no file here can be called: {error}") from None
    expanded = os.path.expanduser(given)
    if expanded == given and Path(given).parts[:1] == ("~",):
        raise OSError(f"{given} is in the home folder, which is not known: set HOME")
    return Path(expanded)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read its bytes; what is checked and read is then one file, whoever replaces it meanwhile.

    Raises OSError, naming it, for one that is not there, and without opening it for a folder, a FIFO or a device, of
    which reading could last for ever.
    """
    path = user_path(path)
    try:
        refuse_special(path, os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    try:
        refuse_special(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """All of a file. Raises OSError as `open_regular`, and ValueError for one of more than `limit` bytes."""
    with open_regular(path) as file, reading(path):
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} has more than {limit:,} bytes, expected less")
    return content


def refuse_special(path: Path, status: os.stat_result) -> None:
    """Raise OSError, naming the path, unless it is a regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Is a folder, expected a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Is a FIFO, socket or device, expected a file", str(path))


@contextmanager
def reading(path: str | os.PathLike[str], complaint: str = "does not fit together") -> Iterator[None]:
    """Whatever goes wrong in making sense of a file's content is a ValueError that names the file.

    An error of the system stays an OSError, too little memory becomes one, and both name the file too.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # Python's own, such as BadGzipFile
            raise ValueError(f"{path} {complaint}: {error}") from error
        name_file(error, path)
        raise
    except MemoryError as error:
        raise OSError(errno.ENOMEM, "There is too little memory to read it", str(path)) from error
    except KeyError as error:
        raise ValueError(f"{path} {complaint}: it has no {error}") from error
    except Exception as error:  # of whatever kind: a file's bytes may make any code stumble
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} {complaint}: {error}") from error


def name_file(error: OSError, path: str | os.PathLike[str]) -> None:
    """Let a system's error name the file that its user knows of, in place of none or of a hidden one beside it."""
    hidden = error.filename is None or is_hidden(os.path.basename(os.fsdecode(error.filename)))
    if error.errno is not None and hidden:
        error.filename = os.fspath(path)
        if error.filename2 is not None:
            del error.filename2


def is_hidden(name: str) -> bool:
    """Whether a file of that name is one that this module makes beside others: a temporary file, or a lock."""
    return _HIDDEN.fullmatch(name) is not None


def place_to_write(path: str | os.PathLike[str]) -> Path:
    """The file that writing to `path` writes, past symbolic links and `~`, its folder made if it is missing.

    Raises OSError, naming it, where a file cannot be: for a folder, a FIFO or a device that is there, or a file that is
    write-protected.
    """
    place = Path(os.path.realpath(user_path(path)))
    if os.fsdecode(path).endswith(os.sep):
        raise IsADirectoryError(errno.EISDIR, "Is the name of a folder, expected a file", os.fsdecode(path))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "Is no folder", str(place.parent)) from None
    if os.path.lexists(place):
        refuse_special(place, os.stat(place))
        if not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, "Is write-protected", str(place))
    return place


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it replaces `path`, on any failure it is removed.

    `mode` is "w" (UTF-8 text) or "wb". As with `open`, a symbolic link stays one and what it leads to is written, an
    older file keeps its mode, and a new one gets what the umask leaves. The folder is made if it is missing. What
    killed writers left in it is removed.

    Raises OSError (naming the file), before anything is done, where `path` cannot be such a file, and also when the
    disk is full; then `path` still holds what it held before.
    """
    place = place_to_write(path)
    try:
        with _temporary(place.parent) as (temporary, descriptor):
            with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if place.exists():
                _be_like(temporary, os.stat(place))
            os.replace(temporary, place)
    except OSError as error:
        name_file(error, path)
        raise


def _be_like(temporary: str, old: os.stat_result) -> None:
    """Give the file that will replace an older one its mode, and its owner where that is allowed."""
    new = os.stat(temporary)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) and hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(temporary, old.st_uid, old.st_gid)
    if stat.S_IMODE(new.st_mode) != stat.S_IMODE(old.st_mode):
        os.chmod(temporary, stat.S_IMODE(old.st_mode))


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[str, int]]:
    """A new file and a descriptor to write it; until the end it is locked, by which it is known to have a writer."""
    remove_left_over(folder)
    while True:
        path = str(folder / f".rnnscratch-{secrets.token_hex(8)}.tmp")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if _keep(path, descriptor):
            break
        os.close(descriptor)
    guard = None if sys.platform == "win32" else os.dup(descriptor)
    try:
        yield path, descriptor
    finally:
        with suppress(OSError):  # it has been moved to its place, or the error that is under way says more
            os.unlink(path)
        if guard is not None:
            os.close(guard)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """A new folder in `folder`, removed at the end; or, if this process is killed, by the next that writes there."""
    remove_left_over(folder)
    path = folder / f".rnnscratch-{secrets.token_hex(8)}.tmp"
    path.mkdir()
    guard = None if sys.platform == "win32" else os.open(path, os.O_RDONLY)
    try:
        if guard is not None:
            _lock(guard)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if guard is not None:
            os.close(guard)


def remove_left_over(folder: Path) -> None:
    """Remove the temporary files and folders of writers that were killed; never those of one that lives."""
    with suppress(OSError):  # a folder that may be written but not listed
        for entry in list(os.scandir(folder)):
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):  # of another user, or gone since
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    if sys.platform == "win32":
        os.unlink(entry.path)  # which fails for one that is open
        return
    folder = entry.is_dir(follow_symlinks=False)
    descriptor = os.open(entry.path, (os.O_RDONLY if folder else os.O_RDWR) | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if _lock(descriptor) and _is_at(descriptor, entry.path):
            if folder:
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
    finally:
        os.close(descriptor)


def _keep(path: str, descriptor: int) -> bool:
    """Lock a file just made; False if another process took it for one left over and removed it before."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks: then nobody removes it either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    return _is_at(descriptor, path)


def _is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Whether the open file is the one at the path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool | None:
        """Whether the file is now locked for this process, until it is closed or the process ends, however that be.

        None where the file system has no locks.
        """
        try:
            os.lseek(descriptor, 2**30, os.SEEK_SET)  # beyond what is written: a locked byte cannot be read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return False if error.errno in (errno.EACCES, errno.EDEADLK) else None
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool | None:
        """Whether the file is now locked for this process, until it is closed or the process ends, however that be.

        None where the file system has no locks.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True


@contextmanager
def owned(
    path: str | os.PathLike[str], other: str = "choose another path", wait: Callable[[str], Any] | None = None
) -> Iterator[None]:
    """Keep a file, or a folder that is there, for this process: others that ask for it meanwhile are told who has it.

    The sign of it is a lock on a file beside it (in the folder), which says who the owner is. However a process ends,
    the system lets go of its lock, also where children that it forked live on. Where there are no locks, an owner on
    this machine that has ended owns nothing. Between machines it holds on network file systems whose locks do: NFS
    mounted with `nolock` has them within each machine alone.

    Raises BlockingIOError, naming file and owner, with what `other` than to wait can be done; or, given `wait`, calls
    it once with that message and waits. Raises OSError where nothing can be written.
    """
    place = Path(os.path.realpath(user_path(path)))
    sign = place / ".lock" if place.is_dir() else place_to_write(place).with_name(f".{place.name[:80]}.lock")
    waiting = False
    while True:
        try:
            descriptor = _take(sign, path)
            break
        except BlockingIOError as error:
            if wait is None:
                raise BlockingIOError(f"{error}: wait until that has ended, or {other}") from None
            if not waiting:
                wait(str(error))
            waiting = True
            time.sleep(0.1)
        except OSError as error:
            name_file(error, path)
            raise
    _owned.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _owned:  # else this is a child that the owner forked
            _owned.discard(descriptor)
            if sys.platform == "win32":  # where an open file cannot be removed
                os.close(descriptor)
            with suppress(OSError):  # gone with its folder
                os.unlink(sign)
            if sys.platform != "win32":
                os.close(descriptor)


_owned: set[int] = set()  # open files that are locked as long as a process has them open


def _let_go() -> None:
    """In a child just forked: what its parent owns is not the child's, which may live longer."""
    while _owned:
        os.close(_owned.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _take(sign: Path, path: str | os.PathLike[str]) -> int:
    """Lock the file that says who owns the path, and say that it is this process; the open file."""
    while True:
        descriptor = os.open(sign, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        locked = _lock(descriptor)
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            if locked is not True:
                owner = os.read(descriptor, _SIGN)
                for _ in range(20 if locked is False else 0):
                    if owner:
                        break
                    time.sleep(0.01)  # it has the lock, and is about to say who it is
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    owner = os.read(descriptor, _SIGN)
                if locked is False or not _has_ended(owner):
                    raise BlockingIOError(f"{path} is in use by {_describe(owner)}")
            if _is_at(descriptor, sign):
                since = datetime.datetime.now().isoformat(" ", "seconds")
                me = {"process": os.getpid(), "host": platform.node(), "since": since}
                me["command"] = shlex.join([os.path.basename(word) for word in sys.argv[:1]] + sys.argv[1:])[:200]
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, json.dumps(me).encode())
                return descriptor
        except BaseException:
            with suppress(OSError):
                if locked and _is_at(descriptor, sign):  # it could not be said whose it is
                    os.unlink(sign)
            os.close(descriptor)
            raise
        os.close(descriptor)


def _owner(content: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        if isinstance(found, dict):
            return found
    return {}


def _describe(content: bytes) -> str:
    owner = _owner(content)
    if not owner:
        return "another process"
    said = f"process {owner.get('process')} on {owner.get('host')} since {owner.get('since')}"
    return f"{said} ({owner['command']})" if owner.get("command") else said


def _has_ended(content: bytes) -> bool:
    """Whether the owner is known to have ended: a process of this machine that is not there, or nobody."""
    owner = _owner(content)
    if not owner or owner.get("host") != platform.node() or not isinstance(owner.get("process"), int):
        return not content
    try:
        os.kill(owner["process"], 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    return False


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON, in ASCII, with NumPy's numbers and arrays as plain ones.

    Raises TypeError for what JSON cannot hold, and ValueError for more than `parse_json` reads.
    """
    try:
        text = json.dumps(value, default=plain, indent=indent)
    except RecursionError:
        raise ValueError("what is to be written as JSON is nested too deeply") from None
    check_json(text.encode("ascii"))
    return text


def check_json(content: bytes) -> None:
    """Raise ValueError for JSON that is long, or of which Python's objects could take much more memory than itself.

    A vocabulary of two million words is not too much; `[[],[],[], ...` takes 24 times its own length.
    """
    values = sum(map(content.count, (b",", b":", b"[", b"{")))
    memory = 9 * len(content) + 80 * values  # itself, its text and its strings, of up to 4 bytes a sign; and objects
    if len(content) > JSON_LIMIT or memory > JSON_MEMORY:
        raise ValueError(f"there are {len(content):,} bytes of JSON with {values:,} values, which is too much")


def plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as Python's; TypeError for anything else."""
    if isinstance(value, np.longdouble):
        return float(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r:.100} of type {type(value).__name__} cannot be written as JSON")


def as_json(value: Any) -> Any:
    """The value as it comes back from JSON: tuples and arrays as lists. Raises TypeError for what JSON cannot hold."""
    return json.loads(to_json(value))


def parse_json(content: bytes) -> Any:
    """What JSON says. Raises ValueError for anything else, or for too much of it: see `check_json`."""
    check_json(content)
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def save_arrays(path: str | os.PathLike[str], header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of numbers and a JSON header as one uncompressed `.npz` without pickle. Atomic: see `atomic_write`.

    Raises TypeError or ValueError, before anything is written, for what `load_arrays` would not read.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in npz.KINDS:
            raise TypeError(f"{name} has dtype {array.dtype}, expected numbers: objects and text are not written")
    packed = np.frombuffer(to_json(header).encode("ascii"), dtype=np.uint8)
    members: dict[str, Any] = {_HEADER: packed, **arrays}
    with atomic_write(path, "wb") as file:
        npz.write(file, members)


def load_arrays(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save_arrays` wrote with `header["format"] == kind`: the header and the arrays.

    Raises OSError, or ValueError, naming the file, for one that is truncated, of another kind, compressed, or holds
    pickled objects. Nothing in the file is executed, and it takes no more memory than it is long, and what its
    header may take: see `check_json`.
    """
    with open_regular(path) as file, reading(path, f"is not a {kind!r} file, or damaged"):
        archive = npz.Npz(file, os.fstat(file.fileno()).st_size)
        if _HEADER not in archive.members:
            raise ValueError("it has no header")
        if archive.members[_HEADER].size > JSON_LIMIT + 128:
            raise ValueError(f"its header has {archive.members[_HEADER].size:,} bytes, expected {JSON_LIMIT:,} at most")
        header = parse_json(archive.read(_HEADER).tobytes())
        found = header.get("format") if isinstance(header, dict) else None
        if found != kind:
            raise ValueError(f"its format is {found!r:.100}")
        return header, {name: archive.read(name) for name in archive.members if name != _HEADER}


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file says. Raises OSError, or ValueError naming the file."""
    content = read_bytes(path, JSON_LIMIT)
    with reading(path, "is no JSON file, or damaged"):
        return parse_json(content)
