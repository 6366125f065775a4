"""What is shown of every version in a store, in one file: a list of thousands must not read thousands of artifacts.

The refs are what counts: a row whose ref is not there is dropped, a ref without a row is read, and the file is written again. Refs and
objects never change, so a row stays right for as long as its object is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact, Unavailable, UnknownName
from swapstream.models.store import Entry, Store

PATH = "index"
VERSION = 1
REMOVED = "removed"


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A version: what its manifest says of it, `rows` it was fitted to; `problem`, where it can't be read: it is removed or damaged."""

    name: str
    version: int
    digest: str
    kind: str = ""
    features: int = 0
    threshold: float = 0.0
    alarm_rate: float | None = None
    bitwise: bool = False
    created: str = ""
    author: str = ""
    rows: int = 0
    parent: str | None = None
    problem: str = ""

    @property
    def ref(self) -> str:
        """name:version."""
        return f"{self.name}:{self.version}"


class _Index(msgspec.Struct, frozen=True):
    v: int
    rows: list[Row]


def row_of(artifact: Artifact) -> Row:
    said = artifact.manifest
    made = said.lineage
    return Row(
        said.name, said.version, artifact.digest, said.kind, len(said.features), said.threshold, said.alarm_rate, said.bitwise,
        made.created, made.author, sum(source.rows for source in made.data if source.kind != "parameters"), made.parent,
    )  # fmt: skip


def every(store: Store) -> list[Row]:
    """A row for each ref, by name and version. Raises Unavailable where the store is away."""
    refs = store.refs()
    known = {(row.name, row.version): row for row in _standing(store, _read(store))}
    new = {ref: _new(store, *ref) for ref in refs if ref not in known}
    rows = [known.get(ref) or new[ref] for ref in refs]
    if any(row.problem in ("", REMOVED) for row in new.values()) or len(known) > len(rows) - len(new):
        write(store, rows)
    return rows


def _standing(store: Store, rows: list[Row]) -> list[Row]:
    """Rows without those of versions that were removed, and put there again."""
    if not any(row.problem for row in rows):
        return rows
    there = set(store.folder.names("objects"))
    return [row for row in rows if not row.problem or row.digest not in there]


def write(store: Store, rows: Iterable[Row]) -> None:
    """Keep rows, but for those of what is damaged, which is looked at each time. A store that can only be read goes without."""
    kept = [row for row in rows if row.problem in ("", REMOVED)]
    with suppress(Unavailable):
        store.folder.replace(PATH, msgspec.msgpack.encode(_Index(VERSION, kept)))


def _read(store: Store) -> list[Row]:
    try:
        found = msgspec.msgpack.decode(store.folder.read(PATH), type=_Index)
    except (FileNotFoundError, msgspec.MsgspecError):
        return []  # there is none, or a release had another: it is made anew
    return found.rows if found.v == VERSION else []


def _new(store: Store, name: str, version: int) -> Row:
    entry = Entry(name, version, "")
    try:
        entry = store.entry(name, version)
        return row_of(store.of(entry))
    except UnknownName:
        return Row(name, version, entry.digest, problem=REMOVED)
    except (InvalidArtifact, FileNotFoundError) as error:
        return Row(name, version, entry.digest, problem=f"damaged: {error}")
