"""Definitions: what travels on the compacted `parameters` topic, and the table every worker builds from it.

A definition's key is `namespace/kind/name/digest`: compaction keeps the last of a key, so the digest in it lets the first of a
name win for ever. Its value is an envelope (version, signed statement, key id, signature); who, when and why are part of the statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidDefinition, UnknownName
from swapstream.operators.cut import Cut
from swapstream.operators.wire import read

Kind = Literal["schema", "model", "plan", "cut"]
VERSION = 1


class Statement(msgspec.Struct, frozen=True):
    """What is said, and by whom: `when` in milliseconds since the epoch, `digest` the sha256 of `body`."""

    kind: Kind
    namespace: str
    name: str
    digest: str
    who: str
    when: int
    why: str
    body: bytes


class Envelope(msgspec.Struct, frozen=True):
    """The outermost bytes of a definition or token. `key` names the signing key; both are empty while nothing is signed."""

    v: int
    signed: bytes
    key: str = ""
    signature: bytes = b""


def digest_of(body: bytes) -> str:
    """The sha256 of a definition's body, as hex."""
    return hashlib.sha256(body).hexdigest()


def encode_definition(
    kind: Kind, namespace: str, name: str, body: bytes, who: str, when: int, why: str
) -> tuple[str, bytes]:
    """The key and value of a definition as they go onto `parameters`."""
    digest = digest_of(body)
    statement = Statement(kind, namespace, name, digest, who, when, why, body)
    return f"{namespace}/{kind}/{name}/{digest}", msgspec.msgpack.encode(
        Envelope(VERSION, msgspec.msgpack.encode(statement))
    )


def decode_definition(value: bytes) -> Statement:
    """Read a definition. Raises InvalidDefinition when it is not one, or its body is not what its digest says."""
    envelope = read(value, Envelope, InvalidDefinition, "a definition")
    if envelope.v != VERSION:
        raise InvalidDefinition(f"definition of version {envelope.v}: this release reads version {VERSION}")
    statement = read(envelope.signed, Statement, InvalidDefinition, "a definition")
    if digest_of(statement.body) != statement.digest:
        raise InvalidDefinition(
            f"{statement.kind} {statement.name!r}: the body's sha256 is not {statement.digest[:12]}…"
        )
    return statement


class Definitions:
    """All definitions read so far. The lowest offset of a schema's or model's name wins; plans are told apart by their digest."""

    def __init__(self) -> None:
        self.position = 0
        self._by_digest: dict[tuple[str, Kind, str], tuple[int, Statement]] = {}
        self._first: dict[tuple[str, Kind, str], tuple[int, Statement]] = {}

    def add(self, offset: int, value: bytes | None) -> Statement | None:
        """Take the record at `offset`; returns what it says, None for a tombstone.

        Raises InvalidDefinition for a record that is none, or that comes too late for its name; `position` moves on either way.
        """
        self.position = max(self.position, offset + 1)
        if value is None:
            return None
        statement = decode_definition(value)
        space, kind, digest = statement.namespace, statement.kind, statement.digest
        lowest(self._by_digest, (space, kind, digest), offset, statement)
        first = lowest(self._first, (space, kind, statement.name), offset, statement)
        if kind != "plan" and first.digest != digest:
            raise InvalidDefinition(
                f"{kind} {statement.name!r} is defined already with digest {first.digest[:12]}…, {digest[:12]}… comes too late"
            )
        return statement

    def read(self, offset: int, value: bytes | None) -> None:
        """Take the record at `offset`, whatever it is: how a reader that reports nothing keeps up."""
        with suppress(InvalidDefinition):
            self.add(offset, value)

    def find(self, namespace: str, kind: Kind, name: str) -> Statement | None:
        """The definition that won this name, if any."""
        first = self._first.get((namespace, kind, name))
        return first[1] if first else None

    def body(self, namespace: str, kind: Kind, digest: str, before: int | None = None) -> bytes | None:
        """The body with this digest, if it was defined (at an offset below `before`) and did not come too late for its name."""
        offset, statement = self._by_digest.get((namespace, kind, digest), (0, None))
        if statement is None or (before is not None and offset >= before):
            return None
        if kind != "plan" and self._first[namespace, kind, statement.name][1].digest != digest:
            return None
        return statement.body

    def require(self, namespace: str, kind: Kind, digest: str) -> bytes:
        """The body with this digest. Raises UnknownName."""
        body = self.body(namespace, kind, digest)
        if body is None:
            raise UnknownName(f"no {kind} with digest {digest[:12]}… is defined in namespace {namespace!r}")
        return body

    def names(self, namespace: str, kind: Kind) -> Iterator[Statement]:
        """The winning definition of each name of one kind."""
        return (
            statement for (space, what, _), (_, statement) in self._first.items() if space == namespace and what == kind
        )

    def cuts(self, namespace: str, deployment: str) -> list[Cut]:
        """A deployment's cut maps, by epoch. What is called a cut map and is none, or is another's, is passed over (C7)."""
        found: list[Cut] = []
        for statement in self.names(namespace, "cut"):
            with suppress(InvalidDefinition):
                cut = Cut.decode(statement.body)
                if (cut.namespace, cut.deployment, cut.name) == (namespace, deployment, statement.name):
                    found.append(cut)
        return sorted(found, key=lambda cut: cut.epoch)


def lowest(
    table: dict[tuple[str, Kind, str], tuple[int, Statement]],
    key: tuple[str, Kind, str],
    offset: int,
    statement: Statement,
) -> Statement:
    """Keep the statement with the lowest offset under a key, and return it."""
    known = table.get(key)
    if known is None or offset < known[0]:
        table[key] = (offset, statement)
    return table[key][1]
