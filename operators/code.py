"""Code archives: a user's own Python file or package, known by the digest of what is in it.

Extractors of one's own are named `module:Class` by people, and `module:Class@digest` wherever it matters which code that is.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from swapstream.models.errors import InvalidDefinition, InvalidPlan, Unavailable, UnknownName

MAX_BYTES = 16 * 1024 * 1024
MAX_FILES = 1_000
FOLDER = "swapstream-code"
"""Where files lie in an archive. Flink puts archives on the path of workers, where a name that Python could import would hide others."""
PREFIX = "swapstream_code"
_REF = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)(?:@([0-9a-f]{64}))?")
_OLDEST = (1980, 1, 1, 0, 0, 0)


class Ref(NamedTuple):
    """A class in a user's code: `source` is module:Class, `digest` its archive's, "" where nobody has said which."""

    source: str
    digest: str

    def __str__(self) -> str:
        return f"{self.source}@{self.digest}" if self.digest else self.source

    @property
    def module(self) -> str:
        return self.source.partition(":")[0]


def bare(module: str) -> str:
    """A module's name as its author knows it: the modules of an archive are imported as swapstream_code.<digest>.<module>."""
    return re.sub(rf"^{PREFIX}\.[0-9a-f]{{64}}\.", "", module)


def ref_of(name: object) -> Ref | None:
    """An extractor's name in a spec as a reference to a user's code; None for what can't be one."""
    found = _REF.fullmatch(name) if isinstance(name, str) else None
    return Ref(found[1], found[2] or "") if found else None


class Archive(msgspec.Struct, frozen=True, dict=True):
    """Files by their path, as in vibration.py or vibration/__init__.py, sorted."""

    files: dict[str, bytes]

    @cached_property
    def digest(self) -> str:
        """The sha256 over names and bytes: the same whenever and wherever the files are packed."""
        return hashlib.sha256(msgspec.msgpack.encode(list(self.files.items()))).hexdigest()

    @property
    def name(self) -> str:
        """Of the file that it lies in."""
        return f"code-{self.digest}.zip"

    @cached_property
    def modules(self) -> frozenset[str]:
        """What can be imported of it by a name without dots."""
        return frozenset(name.partition("/")[0].removesuffix(".py") for name in self.files if "/" in name or name.endswith(".py"))

    def encode(self) -> bytes:
        """A zip."""
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                archive.writestr(zipfile.ZipInfo(f"{FOLDER}/{name}", _OLDEST), content, zipfile.ZIP_DEFLATED)
        return written.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Archive:
        """Raises InvalidDefinition."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                inside = [info for info in archive.infolist() if info.filename.startswith(f"{FOLDER}/") and not info.is_dir()]
                _check_size(len(inside), sum(info.file_size for info in inside), "code archive")
                return archive_of({info.filename.removeprefix(f"{FOLDER}/"): archive.read(info) for info in inside})
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
            raise InvalidDefinition(f"not a code archive: {error}") from error


def archive_of(files: dict[str, bytes]) -> Archive:
    """Of files by their path."""
    return Archive(dict(sorted(files.items())))


def read(path: Path) -> Archive:
    """The archive of a .py file, or of a package: all that is in its folder but hidden files and what Python caches.

    Raises UnknownName where nothing is there, InvalidPlan for what is no Python code or too much.
    """
    if path.is_file() and path.suffix == ".py":
        found = {path.name: path}
    elif path.is_dir():
        found = {str(PurePosixPath(path.resolve().name, *file.relative_to(path).parts)): file for file in _within(path)}
    elif path.exists():
        raise InvalidPlan(f"code {str(path)!r}: allowed are a .py file and the folder of a package")
    else:
        raise UnknownName(f"code {str(path)!r}: no such file or folder")
    _check_size(len(found), sum(file.stat().st_size for file in found.values()), f"code {str(path)!r}")
    return archive_of({name: file.read_bytes() for name, file in found.items()})


def _within(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and path.suffix != ".pyc" and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path


def _check_size(files: int, size: int, what: str) -> None:
    if not 1 <= files <= MAX_FILES or size > MAX_BYTES:
        raise InvalidPlan(f"{what}: {files} files of {size} bytes; allowed are 1 to {MAX_FILES} files of at most {MAX_BYTES} bytes")


# -- the archives of this process

Source = Callable[[str], bytes | None]
"""Of an archive's digest: the bytes of its zip, None where it is not there. May raise Unavailable."""

_here: dict[str, Archive] = {}
_sources: dict[Any, Source] = {}


def register(archive: Archive) -> Archive:
    """Have this process know an archive."""
    return _here.setdefault(archive.digest, archive)


def look_in(key: object, source: Source) -> None:
    """Have this process look for archives in one more place; the same key again replaces it."""
    _sources[key] = source


def known(digest: str) -> Archive | None:
    """An archive that was registered or found before."""
    return _here.get(digest)


def find(digest: str) -> Archive:
    """An archive, out of what is registered, the places to look in, and what lies on Python's path, where Flink puts what was
    sent with a job. Raises Unavailable where it is not here, or other bytes are."""
    if digest in _here:
        return _here[digest]
    wrong = ""
    for data in _candidates(digest):
        try:
            archive = Archive.decode(data)
        except InvalidDefinition as error:
            wrong = str(error)
            continue
        if archive.digest == digest:
            return register(archive)
        wrong = f"digest: what is here has {archive.digest}"
    raise Unavailable(f"code {digest[:12]}…: {wrong or 'is not here; a job runs code that it was submitted with'}")


def _candidates(digest: str) -> Iterator[bytes]:
    name = f"code-{digest}"
    for source in list(_sources.values()):
        data = source(digest)
        if data is not None:
            yield data
    for entry in map(Path, sys.path):
        if entry.name in (name, f"{name}.zip"):  # Flink unpacks a zip beside itself, and names the folder
            path = entry.with_name(f"{name}.zip")
            if path.is_file():
                yield path.read_bytes()


# -- specs

Spec = Iterable[Any]


def pinned(spec: Spec, archives: Iterable[Archive]) -> tuple[Any, ...]:
    """A spec whose `module:Class` names say the digest of the archive that has the module. Raises InvalidPlan."""
    there: dict[str, Archive] = {}
    for archive in archives:
        for module in archive.modules:
            if there.setdefault(module, archive).digest != archive.digest:
                raise InvalidPlan(f"code: module {module!r} is there twice; each must have a name of its own")
    return tuple(_pinned(entry, there) for entry in spec)


def _pinned(entry: Any, there: dict[str, Archive]) -> Any:
    if isinstance(entry, dict):
        return {_pinned(name, there): settings for name, settings in entry.items()}
    ref = ref_of(entry)
    if ref is None or ref.digest:
        return entry
    archive = there.get(ref.module.partition(".")[0])
    if archive is None:
        has = f"has modules {', '.join(sorted(there))}" if there else "is none: name its file in the plan's `code`, or with --code"
        raise InvalidPlan(f"extractor {ref.source!r}: the code that is given {has}")
    return str(ref._replace(digest=archive.digest))


def refs_in(spec: Spec) -> list[Ref]:
    """A spec's references to users' code."""
    names = [next(iter(entry), None) if isinstance(entry, dict) else entry for entry in spec]
    return [ref for ref in map(ref_of, names) if ref is not None]
