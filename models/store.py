"""The store: a folder of artifacts, addressed by their digest, and of names that point at them.

    objects/<sha256>          the artifact's bytes
    refs/<name>/<version>     the digest, in hex

Writers need no lock: an object is complete before it has its name, and a ref is made by an exclusive link, so of two
writers of the same name:version one wins and the other gets Conflict. Nothing is ever overwritten.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import Conflict, InvalidArtifact, UnknownName
from swapstream.models.manifest import MAX_VERSION, check_name

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Entry(msgspec.Struct, frozen=True):
    """A ref and what it points at."""

    name: str
    version: int
    digest: str

    @property
    def ref(self) -> str:
        """name:version."""
        return f"{self.name}:{self.version}"


class Store:
    """A store in the folder `path`, which is created by the first `put`."""

    def __init__(self, path: str | Path) -> None:
        self._objects = Path(path) / "objects"
        self._refs = Path(path) / "refs"

    def put(self, artifact: Artifact) -> Entry:
        """Keep the artifact. The same bytes again change nothing; other bytes under its name:version raise Conflict."""
        data, digest = artifact.encode(), artifact.digest
        target = self._objects / digest
        if not target.exists():
            with _temporary(self._objects, data) as temporary:
                os.replace(temporary, target)
        entry = Entry(artifact.manifest.name, artifact.manifest.version, digest)
        self._link(entry)
        return entry

    def get(self, ref: str) -> Artifact:
        """The artifact of "name:version", or of "name" in its newest version. Raises UnknownName, InvalidArtifact."""
        entry = self.resolve(ref)
        return Artifact.decode(self.read(entry.digest))

    def read(self, digest: str) -> bytes:
        """The bytes with this digest. Raises UnknownName, and InvalidArtifact where the file no longer has it."""
        if not _DIGEST.fullmatch(digest):
            raise InvalidArtifact(f"digest {digest!r:.100}: allowed are 64 lower-case hex digits")
        try:
            data = (self._objects / digest).read_bytes()
        except FileNotFoundError as error:
            raise UnknownName(f"store {self._objects.parent} has no artifact {digest}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise InvalidArtifact(
                f"store {self._objects.parent}: object {digest} is damaged, its bytes have digest {found}"
            )
        return data

    def resolve(self, ref: str) -> Entry:
        """What "name:version" or "name" (its newest version) points at. Raises UnknownName, naming what there is."""
        name, _, version = ref.partition(":")
        check_name(name)
        versions = self.versions(name)
        if not versions:
            names = ", ".join(sorted({entry.name for entry in self.list()})) or "none"
            raise UnknownName(f"store {self._objects.parent} has no model {name!r}; there are: {names}")
        wanted = version or str(versions[-1])
        if wanted not in map(str, versions):
            raise UnknownName(f"model {name!r} has no version {wanted!r}; there are: {', '.join(map(str, versions))}")
        return Entry(name, int(wanted), self._digest(name, int(wanted)))

    def versions(self, name: str) -> tuple[int, ...]:
        """The versions of a name, oldest first; () for a name that is not there."""
        folder = self._refs / check_name(name)
        found = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        return tuple(sorted(int(name) for name in found if name.isdecimal()))

    def next_version(self, name: str) -> int:
        """One more than the newest version."""
        version = max(self.versions(name), default=0) + 1
        if version > MAX_VERSION:
            raise Conflict(f"model {name!r} has no version left below {MAX_VERSION}")
        return version

    def list(self) -> tuple[Entry, ...]:
        """Every ref, by name and version."""
        names = sorted(path.name for path in self._refs.iterdir()) if self._refs.is_dir() else []
        return tuple(
            Entry(name, version, self._digest(name, version)) for name in names for version in self.versions(name)
        )

    def _digest(self, name: str, version: int) -> str:
        return (self._refs / name / str(version)).read_text()

    def _link(self, entry: Entry) -> None:
        folder = self._refs / entry.name
        with _temporary(folder, entry.digest.encode()) as temporary:
            try:
                os.link(temporary, folder / str(entry.version))
            except FileExistsError as error:
                taken = self._digest(entry.name, entry.version)
                if taken != entry.digest:
                    raise Conflict(
                        f"model {entry.ref} exists with digest {taken}, this one has {entry.digest}"
                    ) from error


@contextmanager
def _temporary(folder: Path, data: bytes) -> Iterator[str]:
    """A complete, synced file in `folder` under a name that no reader looks at; gone afterwards unless it was moved."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        Path(path).unlink(missing_ok=True)
