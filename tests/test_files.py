"""Writing is all or nothing: the old file stays whole whatever goes wrong, and nothing half-written is left.

What is no regular file is neither read nor written, and what a process owns no other takes.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import platform
import resource
import signal
import stat
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rnnscratch import files

ROOT = Path(files.__file__).parents[1]


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


def test_a_symbolic_link_stays_one_and_what_it_leads_to_is_replaced_whole(tmp_path):
    (tmp_path / "far").mkdir()
    target, link, chain, new = tmp_path / "far" / "file", tmp_path / "link", tmp_path / "chain", tmp_path / "new"
    target.write_text("old")
    link.symlink_to("far/file")
    chain.symlink_to(link)
    new.symlink_to("far/folder/new")
    for path in (link, chain, new):
        with files.atomic_write(path) as file:
            file.write(str(path))
        assert path.is_symlink() and path.read_text() == str(path)
    assert target.read_text() == str(chain) and names(tmp_path / "far" / "folder") == ["new"]
    assert names(tmp_path) == ["chain", "far", "link", "new"] and names(tmp_path / "far") == ["file", "folder"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_an_older_file_keeps_its_mode(mode, tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    files.save_arrays(path, {"format": "k"}, {})
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_umask_says_what_a_new_file_may_and_is_never_touched(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask is the whole process's"))
        with files.atomic_write(tmp_path / "file"):
            (temporary,) = tmp_path.iterdir()
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o640
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    finally:
        monkeypatch.undo()
        os.umask(before)


def special(kind, path):
    """Something that is no regular file."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/null")
    else:
        path.symlink_to(path.name)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "loop"])
def test_what_is_no_file_is_refused_by_name_before_anything_is_done(kind, tmp_path):
    path = tmp_path / "thing"
    special(kind, path)
    with pytest.raises(OSError, match="thing|dev/null"), files.atomic_write(path):
        pytest.fail("it was opened to write")
    with pytest.raises(OSError, match="thing"):
        files.load_arrays(path, "k")
    with pytest.raises(OSError, match="thing"):
        files.read_json(path)
    with pytest.raises(OSError, match="thing|dev/null"), files.owned(path):
        if kind == "folder":
            raise OSError("thing")  # a folder may be owned
        pytest.fail("it was taken")
    assert names(tmp_path) == ["thing"]


def test_a_write_protected_file_is_refused_as_open_does(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match="write-protected.*file"), files.atomic_write(path):
        pytest.fail("it was opened to write")
    assert path.read_text() == "old"


def test_a_tilde_is_the_home_folder_to_write_and_to_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    files.save_arrays("~/here/f.npz", {"format": "k"}, {"a": np.arange(3)})
    assert (tmp_path / "here" / "f.npz").exists() and names(tmp_path) == ["here"]
    assert files.load_arrays(Path("~/here/f.npz"), "k")[1]["a"].tolist() == [0, 1, 2]
    with files.atomic_write("~no such user~"):
        pass
    assert names(tmp_path) == ["here", "~no such user~"]
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where no home is known
    for call in (lambda: files.load_arrays("~/f.npz", "k"), lambda: files.save_arrays("~/f.npz", {}, {})):
        with pytest.raises(OSError, match="~/f.npz is in the home folder, which is not known: set HOME"):
            call()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (None, TypeError, "path is None, expected a string or a Path"),
        (3, TypeError, "path is 3, expected"),
        (["a"], TypeError, r"path is \['a'\], expected"),
        ("", ValueError, "path is '', expected the name of a file or folder"),
        ("a\0b", ValueError, r"path is 'a\\x00b', expected"),
        ("a\ud800", ValueError, r"path is 'a\\ud800', which no file here can be called"),
    ],
)
def test_what_is_no_path_is_named(path, error, message):
    for use in (files.place_to_write, files.open_regular, files.user_path):
        with pytest.raises(error, match=message):
            use(path)


def test_a_path_of_bytes_is_one_and_the_name_of_a_folder_is_that_of_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with files.atomic_write(b"file") as file:
        file.write("text")
    assert files.read_bytes(b"file", 100) == b"text"
    with pytest.raises(IsADirectoryError, match="Is the name of a folder.*new/"), files.atomic_write("new/"):
        pass
    with pytest.raises(NotADirectoryError, match="Is no folder.*file'"), files.atomic_write("file/x"):
        pass
    assert names(tmp_path) == ["file"] and Path("file").read_text() == "text"


def test_json_nested_too_deeply_is_a_valueerror_in_writing_too():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        files.to_json(deep)


def test_a_name_as_long_as_a_name_may_be_is_written(tmp_path):
    with files.atomic_write(tmp_path / ("x" * 255)) as file:
        file.write("text")
    with files.owned(tmp_path / ("x" * 255)):
        pass
    assert names(tmp_path) == ["x" * 255]


def start_python(code, *arguments, **options):
    """A process that runs the code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


def run_python(code, *arguments, **options):
    """A process that runs the code and has written its first line."""
    process = start_python(code, *arguments, **options)
    process.stdout.readline()
    return process


HALF = """
import sys, time
from rnnscratch.files import atomic_write, temporary_folder
from pathlib import Path
with temporary_folder(Path(sys.argv[1]).parent) as folder, atomic_write(sys.argv[1]) as file:
    (folder / "content").write_text("half")
    file.write("half")
    file.flush()
    print("begun", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_leaves_goes_with_the_next_and_a_living_one_keeps_its_own(tmp_path):
    killed, living = run_python(HALF, tmp_path / "file"), run_python(HALF, tmp_path / "other")
    killed.kill()
    killed.communicate()
    assert len(names(tmp_path)) == 4
    with files.atomic_write(tmp_path / "third"):
        pass
    assert len(names(tmp_path)) == 3
    living.kill()
    living.communicate()
    with files.atomic_write(tmp_path / "file"):
        pass
    assert names(tmp_path) == ["file", "third"]


def test_an_error_of_the_disk_names_the_file(tmp_path):
    code = f"""
import resource, numpy as np
from rnnscratch.files import save_arrays
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {resource.RLIM_INFINITY}))
try:
    save_arrays({str(tmp_path / "f.npz")!r}, {{"format": "k"}}, {{"a": np.zeros(10_000)}})
except OSError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "File too large" in said.stdout and "f.npz" in said.stdout and names(tmp_path) == []


def test_a_reader_never_sees_a_damaged_file_while_others_write_it(tmp_path):
    path, stop = tmp_path / "f.npz", threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            files.save_arrays(path, {"format": "k", "number": number}, {"a": np.full(1 << (4 + number % 9), number)})

    files.save_arrays(path, {"format": "k", "number": 0}, {"a": np.zeros(2)})
    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(300):
            header, arrays = files.load_arrays(path, "k")
            assert (arrays["a"] == header["number"]).all()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert names(tmp_path) == ["f.npz"]


OWN = """
import sys, time
from rnnscratch.files import owned
with owned(sys.argv[1]):
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_a_process_owns_no_other_takes_until_it_ends_however_it_ends(kind, tmp_path):
    path = tmp_path / "run"
    if kind == "folder":
        path.mkdir()
    (tmp_path / "link").symlink_to("run")
    owner = run_python(OWN, path)
    asked = tmp_path / "link" if kind == "link" else path
    said = rf"(?s){asked.name} is in use by process {owner.pid} on {platform.node()} since 20.* \(-c .*\): "
    said += "wait until that has ended, or choose another path"
    with pytest.raises(BlockingIOError, match=said), files.owned(asked):
        pytest.fail("it was taken")
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    with files.owned(asked):
        with pytest.raises(BlockingIOError, match=f"in use by process {os.getpid()}"), files.owned(path):
            pytest.fail("it was taken twice")
    assert names(tmp_path) == (["link", "run"] if kind == "folder" else ["link"])
    assert kind != "folder" or names(path) == []


OWN_AND_FORK = """
import os, sys, time
from rnnscratch.files import owned
with owned(sys.argv[1]):
    begun, begins = os.pipe()
    child = os.fork()
    if child and sys.argv[2] == "lives":
        os.read(begun, 1)
        print(child, flush=True)
        time.sleep(60)
    elif child:
        os.waitpid(child, 0)
        print(open(sys.argv[1] + "/.lock").read() != "", flush=True)
        time.sleep(60)
    elif sys.argv[2] == "lives":
        os.write(begins, b"x")
        sys.stdout.close()
        os.close(1)
        time.sleep(60)
    else:
        raise SystemExit
"""


def test_a_child_that_outlives_its_killed_owner_holds_nothing(tmp_path):
    with start_python(OWN_AND_FORK, tmp_path, "lives") as owner:
        child = int(owner.stdout.readline())
        try:
            with pytest.raises(BlockingIOError, match=f"process {owner.pid} "), files.owned(tmp_path):
                pytest.fail("it was taken")
            owner.kill()
            owner.wait()
            os.kill(child, 0)  # it lives
            with files.owned(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)
    assert names(tmp_path) == []


def test_a_child_that_leaves_its_owner_s_work_ends_nothing_of_it(tmp_path):
    with start_python(OWN_AND_FORK, tmp_path, "leaves") as owner:
        assert owner.stdout.readline() == "True\n"
        with pytest.raises(BlockingIOError, match=f"process {owner.pid} "), files.owned(tmp_path):
            pytest.fail("it was taken")
        owner.kill()


def test_who_would_wait_is_told_once_for_whom_and_gets_it_then(tmp_path):
    owner, told = run_python(OWN, tmp_path), []

    def wait(message):
        told.append(message)
        threading.Timer(0.3, owner.kill).start()

    with files.owned(tmp_path, wait=wait):
        owner.communicate()
        assert owner.returncode == -signal.SIGKILL
    assert len(told) == 1 and f"is in use by process {owner.pid} on" in told[0] and "choose" not in told[0]
    assert names(tmp_path) == []


def test_of_many_that_ask_at_once_one_gets_it(tmp_path):
    code = """
import sys, time
from rnnscratch.files import owned
print("begun", flush=True)
sys.stdin.readline()
try:
    with owned(sys.argv[1]):
        print("mine", flush=True)
        time.sleep(1)
except BlockingIOError:
    print("another's")
"""
    asking = [run_python(code, tmp_path / "file", stdin=subprocess.PIPE) for _ in range(4)]
    for process in asking:
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(process.communicate()[0].strip() for process in asking) == ["another's"] * 3 + ["mine"]


@pytest.mark.parametrize("call", ["open", "write"])
def test_where_no_owner_can_be_written_the_error_names_the_file(call, tmp_path, monkeypatch):
    def refuse(place, *_):
        raise OSError(errno.ENOSPC, "No space left", *([str(place)] if call == "open" else []))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match=r"No space left: '.*/file'"), files.owned(tmp_path / "file"):
        pytest.fail("it was taken")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("owner", "free"),
    [
        ({"process": 2**22 + 1, "host": platform.node(), "since": "then"}, True),
        ({"process": os.getpid(), "host": platform.node(), "since": "then"}, False),
        ({"process": 1, "host": "elsewhere", "since": "then"}, False),
        ("", True),
        ("half of i", False),
    ],
)
def test_without_locks_an_owner_that_has_ended_owns_nothing(owner, free, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_lock", lambda descriptor: None)
    (tmp_path / ".file.lock").write_text(owner if isinstance(owner, str) else json.dumps(owner))
    if free:
        with files.owned(tmp_path / "file"):
            assert json.loads((tmp_path / ".file.lock").read_text())["process"] == os.getpid()
        assert names(tmp_path) == []
    else:
        with pytest.raises(BlockingIOError, match="file is in use by"), files.owned(tmp_path / "file"):
            pytest.fail("it was taken")


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
    with np.load(tmp_path / "f.npz") as file:  # which others read too
        assert file.files == ["header", *arrays]
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
    for much in ("a" * 2**26, [[]] * 4_000_000):
        with pytest.raises(ValueError, match="bytes of JSON with .* values, which is too much"):
            files.save_arrays(tmp_path / "f.npz", {"format": "k", "x": much}, {})
    assert names(tmp_path) == []


def test_numbers_of_numpy_go_into_a_header_as_plain_ones(tmp_path):
    header = {"format": "k", "a": np.int64(2), "b": np.float32(0.5), "c": np.arange(3), "d": [np.bool_(True)]}
    files.save_arrays(tmp_path / "f.npz", header, {})
    assert files.load_arrays(tmp_path / "f.npz", "k")[0] == {
        "format": "k",
        "a": 2,
        "b": 0.5,
        "c": [0, 1, 2],
        "d": [True],
    }


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"\xff", b"1" * 5000, b" " * 2**26, b"[[]," * 3_000_000])
def test_json_that_is_none_is_a_valueerror_with_the_name(content, tmp_path):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"f\.json"):
        files.read_json(tmp_path / "f.json")


@pytest.mark.parametrize("unit", ["[],", "{},", "[0],", '{"a":1},', '"ab",', '"\U0001f600",', "0,", "1.5,"])
def test_json_takes_no_more_memory_than_is_reckoned(unit, monkeypatch):
    monkeypatch.setattr(files, "JSON_MEMORY", 10**7)
    count = 1
    with pytest.raises(ValueError, match="too much"):
        while True:
            content = f"[{unit * count}0]".encode()
            files.check_json(content)
            count *= 2
    content = f"[{unit * (count // 2)}0]".encode()
    tracemalloc.start()
    try:
        assert len(files.parse_json(content)) == count // 2 + 1
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_a_vocabulary_of_a_million_words_is_not_too_much():
    files.check_json(json.dumps([f"word number {k}" for k in range(10**6)]).encode())


def test_whatever_goes_wrong_in_reading_names_the_file():
    def stumble(error):
        with files.reading("the file"):
            raise error

    for error in (RecursionError("deep"), OverflowError("large"), TypeError("type"), AssertionError(), EOFError("end")):
        with pytest.raises(ValueError, match="the file does not fit together"):
            stumble(error)
    with pytest.raises(ValueError, match="the file does not fit together: it has no 'key'"):
        stumble(KeyError("key"))
    with pytest.raises(OSError, match="too little memory to read it: 'the file'"):
        stumble(MemoryError())
    with pytest.raises(OSError, match="worn out: 'the file'"):
        stumble(OSError(errno.EIO, "worn out"))
    with pytest.raises(KeyboardInterrupt):
        stumble(KeyboardInterrupt())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_archive_that_is_interrupted_is_closed_before_its_file(error, tmp_path, monkeypatch):
    written, original, unraisable = [], np.lib.format.write_array, []

    def interrupted(file, array, **options):
        if written:
            raise error
        written.append(array)
        original(file, array, **options)

    monkeypatch.setattr(np.lib.format, "write_array", interrupted)
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with pytest.raises(type(error)):
        files.save_arrays(tmp_path / "a.npz", {"format": "k"}, {"a": np.ones(3)})
    gc.collect()
    assert not unraisable and os.listdir(tmp_path) == []


def test_arrays_may_have_any_name(tmp_path):
    arrays = {name: np.arange(3.0) for name in ("file", "args", "allow_pickle", "a/b", "ä")}
    files.save_arrays(tmp_path / "a.npz", {"format": "k"}, arrays)
    found = files.load_arrays(tmp_path / "a.npz", "k")[1]
    assert found.keys() == arrays.keys() and all((array == np.arange(3.0)).all() for array in found.values())
