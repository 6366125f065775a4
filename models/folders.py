"""Where a store's files lie: a folder of this machine, or any place that fsspec reaches (s3://, gs://, memory://, …)."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from swapstream.models.errors import InvalidSettings, Unavailable

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")


class Folder(Protocol):
    """Files below one place, by relative paths of checked names. Raises Unavailable where the place is away."""

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write a file, unless it is there. It has its name when it is complete."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that is not there; False, with nothing written, where it is."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Write a file, whether it is there or not. Readers find the one or the other, whole."""
        ...

    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""
        ...

    def modified(self, path: str) -> float | None:
        """When a file was written (s since 1970); None where the place does not say, or the file is not there."""
        ...

    def names(self, path: str) -> list[str]:
        """What lies in a folder, hidden files aside, in no order; [] for a folder that is not there."""
        ...


def folder(place: str | Path) -> Folder:
    """The folder at a path or URL. Raises InvalidSettings."""
    text = str(place)
    if text.startswith("file://"):
        return LocalFolder(Path(text.removeprefix("file://")))
    return RemoteFolder(text) if _SCHEME.match(text) else LocalFolder(Path(place))


class LocalFolder:
    """Of two writers of one name exactly one wins: a file gets its name by an exclusive link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes:
        with self._unwilling(path):
            return (self._root / path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        with self._unwilling(path):
            if not (self._root / path).exists():
                self._write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        target = self._root / path
        with self._unwilling(path), _temporary(target.parent, data) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
        return True

    def replace(self, path: str, data: bytes) -> None:
        with self._unwilling(path):
            self._write(path, data)

    def remove(self, path: str) -> None:
        with self._unwilling(path):
            (self._root / path).unlink(missing_ok=True)

    def modified(self, path: str) -> float | None:
        try:
            return (self._root / path).stat().st_mtime
        except OSError:
            return None

    def names(self, path: str) -> list[str]:
        with self._unwilling(path):
            found = self._root / path
            return [name for name in os.listdir(found) if not name.startswith(".")] if found.is_dir() else []

    def _write(self, path: str, data: bytes) -> None:
        write_whole(self._root / path, data)

    @contextmanager
    def _unwilling(self, path: str) -> Iterator[None]:
        """A disk that is full or read-only, rights that are missing: Unavailable, in words."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(f"store {self._root}: {path}: {(error.strerror or line(error)).lower()}") from error


class RemoteFolder:
    """An object store. Where it can't create exclusively two writers at once may both win a name; the log then tells who was first."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._fs, self._root = filesystem(self._url)

    def read(self, path: str) -> bytes:
        with _away(f"{self._url}/{path}"):
            data: bytes = self._fs.cat_file(f"{self._root}/{path}")
            return data

    def put(self, path: str, data: bytes) -> None:
        with _away(f"{self._url}/{path}"):
            if not self._there(path):
                self._fs.makedirs(f"{self._root}/{path}".rpartition("/")[0], exist_ok=True)
                self._fs.pipe_file(f"{self._root}/{path}", data)

    def create(self, path: str, data: bytes) -> bool:
        with _away(f"{self._url}/{path}"):
            if self._there(path):
                return False
            self._fs.makedirs(f"{self._root}/{path}".rpartition("/")[0], exist_ok=True)
            try:
                self._fs.pipe_file(f"{self._root}/{path}", data, mode="create")
            except FileExistsError:
                return False
            written: bytes = self._fs.cat_file(f"{self._root}/{path}")
            return written == data

    def replace(self, path: str, data: bytes) -> None:
        with _away(f"{self._url}/{path}"):
            self._fs.makedirs(f"{self._root}/{path}".rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(f"{self._root}/{path}", data)

    def remove(self, path: str) -> None:
        with _away(f"{self._url}/{path}"):
            if self._there(path):
                self._fs.rm_file(f"{self._root}/{path}")

    def modified(self, path: str) -> float | None:
        with _away(f"{self._url}/{path}"):
            try:
                return float(self._fs.modified(f"{self._root}/{path}").timestamp())
            except (FileNotFoundError, NotImplementedError, AttributeError):
                return None

    def names(self, path: str) -> list[str]:
        with _away(f"{self._url}/{path}"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(f"{self._root}/{path}", detail=False)
            except FileNotFoundError:
                return []
            names = [str(entry).rstrip("/").rpartition("/")[2] for entry in found]
            return [name for name in names if name and not name.startswith(".")]

    def _there(self, path: str) -> bool:
        """`exists` of fsspec would say no as well where the store is away."""
        self._fs.invalidate_cache()
        try:
            self._fs.info(f"{self._root}/{path}")
        except FileNotFoundError:
            return False
        return True


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the URL's path in it. Raises InvalidSettings for one that is not known here."""
    from fsspec.core import url_to_fs  # takes a while to import, and few need it

    if "::" in url:
        raise InvalidSettings(f"store {url!r:.200}: one URL is allowed, no chain of them")
    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InvalidSettings(f"store {url!r:.200}: {line(error)}") from error
    return fs, path.rstrip("/")


@contextmanager
def _away(what: str) -> Iterator[None]:
    """Whatever a store's library raises, but for what tells a file that is not there, is Unavailable."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise Unavailable(f"store: {what}: {line(error)}") from error


def line(error: BaseException) -> str:
    """An error in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def write_whole(path: Path, data: bytes) -> None:
    """A file that is there whole, or as it was before. Raises OSError."""
    with _temporary(path.parent, data) as temporary:
        os.replace(temporary, path)


@contextmanager
def _temporary(parent: Path, data: bytes) -> Iterator[str]:
    """A complete, synced file in a folder under a name that no reader looks at; gone afterwards unless it was moved."""
    parent.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        Path(path).unlink(missing_ok=True)
