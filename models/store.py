"""The store: artifacts, addressed by their digest, and names that point at them; in a folder or at any URL that fsspec reaches.

    objects/<sha256>          the artifact's bytes
    refs/<name>/<version>     the digest, in hex
    index                     what is shown of every version (index.py); only to be quick
    states/…                  not artifacts: state that a backfill begins with, while it runs

Writers need no lock: an object is complete before it has its name, and a ref is created exclusively, so of two
writers of the same name:version one wins and the other gets Conflict. No object and no ref is ever overwritten, and a ref
stays when its object has been removed: the name is taken for good.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import Conflict, InvalidArtifact, UnknownName
from swapstream.models.folders import Folder, folder
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
    """A store at a path, which is created by the first `put`, or at a URL. Raises Unavailable where that is away."""

    def __init__(self, place: str | Path) -> None:
        self._place = place
        self._folder = folder(place)

    def put(self, artifact: Artifact) -> Entry:
        """Keep the artifact. The same bytes again change nothing, but for mending an object that was damaged; other bytes under its
        name:version raise Conflict."""
        digest, data = artifact.digest, artifact.encode()
        self._folder.put(where(digest), data)
        if self._folder.read(where(digest)) != data:
            self._folder.replace(where(digest), data)
        entry = Entry(artifact.manifest.name, artifact.manifest.version, digest)
        self._link(entry)
        return entry

    def get(self, ref: str) -> Artifact:
        """The artifact of "name:version", or of "name" in its newest version. Raises UnknownName, InvalidArtifact."""
        return self.of(self.resolve(ref))

    def of(self, entry: Entry) -> Artifact:
        """What a ref points at. Raises UnknownName where it has been removed, InvalidArtifact where it is damaged or another's."""
        try:
            artifact = Artifact.decode(self.read(entry.digest))
        except UnknownName as error:
            raise UnknownName(f"model {entry.ref} is no longer in the store {self._place}: it was removed as unused") from error
        except InvalidArtifact as error:
            raise InvalidArtifact(f"model {entry.ref}: {error}", error.check) from error
        if artifact.ref != entry.ref:
            raise InvalidArtifact(f"model {entry.ref}: store {self._place} has {artifact.ref} under its name")
        return artifact

    @property
    def folder(self) -> Folder:
        """Where its files lie."""
        return self._folder

    def read(self, digest: str) -> bytes:
        """The bytes with this digest. Raises UnknownName, and InvalidArtifact where the file no longer has it."""
        if not _DIGEST.fullmatch(digest):
            raise InvalidArtifact(f"digest {digest!r:.100}: allowed are 64 lower-case hex digits")
        try:
            data = self._folder.read(where(digest))
        except FileNotFoundError as error:
            raise UnknownName(f"store {self._place} has no artifact {digest}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise InvalidArtifact(f"store {self._place}: object {digest} is damaged, its bytes have digest {found}")
        return data

    def resolve(self, ref: str) -> Entry:
        """What "name:version" or "name" (its newest version) points at. Raises UnknownName, naming what there is."""
        name, _, version = ref.partition(":")
        check_name(name)
        versions = self.versions(name)
        if not versions:
            names = ", ".join(sorted({name for name, _ in self.refs()})) or "none"
            raise UnknownName(f"store {self._place} has no model {name!r}; there are: {names}")
        wanted = version or str(versions[-1])
        if wanted not in map(str, versions):
            raise UnknownName(f"model {name!r} has no version {wanted!r}; there are: {', '.join(map(str, versions))}")
        return Entry(name, int(wanted), self._digest(name, int(wanted)))

    def versions(self, name: str) -> tuple[int, ...]:
        """The versions of a name, oldest first; () for a name that is not there."""
        found = self._folder.names(f"refs/{check_name(name)}")
        return tuple(sorted(int(name) for name in found if name.isdecimal()))

    def next_version(self, name: str) -> int:
        """One more than the newest version."""
        version = max(self.versions(name), default=0) + 1
        if version > MAX_VERSION:
            raise Conflict(f"model {name!r} has no version left below {MAX_VERSION}")
        return version

    def list(self) -> tuple[Entry, ...]:
        """Every ref, by name and version."""
        return tuple(self.entry(name, version) for name, version in self.refs())

    def refs(self) -> tuple[tuple[str, int], ...]:
        """Every (name, version), in order; what they point at is not read."""
        return tuple((name, version) for name in sorted(self._folder.names("refs")) for version in self.versions(name))

    def entry(self, name: str, version: int) -> Entry:
        """What a ref that is there points at."""
        return Entry(name, version, self._digest(name, version))

    def _digest(self, name: str, version: int) -> str:
        digest = self._folder.read(f"refs/{name}/{version}").decode(errors="replace").strip()
        if not _DIGEST.fullmatch(digest):
            raise InvalidArtifact(f"model {name}:{version}: its ref in store {self._place} is damaged: {digest!r:.80}")
        return digest

    def _link(self, entry: Entry) -> None:
        if self._folder.create(f"refs/{entry.name}/{entry.version}", entry.digest.encode()):
            return
        taken = self._digest(entry.name, entry.version)
        if taken != entry.digest:
            raise Conflict(f"model {entry.ref} exists with digest {taken}, this one has {entry.digest}")


def where(digest: str) -> str:
    """The path of an artifact below a store."""
    return f"objects/{digest}"
