"""Statements: what a record of the compacted `parameters` topic says, by whom, when and why.

A record's key is `namespace/kind/name/digest`: compaction keeps the last of a key, so the digest in it lets the first of a name win
for ever. Of updates only the newest of a deployment matters: theirs is `namespace/update/deployment`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.envelope import Envelope, seal, unseal
from swapstream.operators.signing import Signer
from swapstream.operators.wire import read

Kind = Literal["schema", "model", "plan", "cut", "key", "abort", "update", "extractor"]
MAX_DEFINITION = 1024 * 1024
"""Bytes of a signed definition. Earlier releases signed nothing, and sent models of up to 12 MB: these can still be read."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME_RULE = "letters, digits, '.', '_' and '-', at most 100, a letter or digit first"
_NUMBERED = re.compile(rf"{NAME.pattern}(:[0-9]{{1,20}})?")
_PLACE = re.compile(rf"{NAME.pattern}(/{NAME.pattern}){{0,9}}")


class Statement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is said, and by whom: `when` in milliseconds since the epoch, `digest` the sha256 of `body`.

    A large model is said by reference: `body` is empty, `digest` that of the artifact's bytes, `size` how many they are, and `where`
    they lie, a path below the job's store, as in objects/<digest>.
    """

    kind: Kind
    namespace: str
    name: str
    digest: str
    who: str
    when: int
    why: str
    body: bytes
    size: int = 0
    where: str = ""

    @property
    def key(self) -> str:
        """The record's key."""
        name = f"{self.namespace}/{self.kind}/{self.name}"
        return name if self.kind == "update" else f"{name}/{self.digest}"

    def encode(self, signer: Signer | None = None) -> bytes:
        """The record's value."""
        return seal(msgspec.msgpack.encode(self), "definition", signer)


def digest_of(body: bytes) -> str:
    """The sha256 of a definition's body, as hex."""
    return hashlib.sha256(body).hexdigest()


def encode_definition(
    kind: Kind, namespace: str, name: str, body: bytes, who: str, when: int, why: str, signer: Signer | None = None
) -> tuple[str, bytes]:
    """The key and value of a definition as they go onto `parameters`."""
    statement = Statement(kind, namespace, name, digest_of(body), who, when, why, body)
    return statement.key, statement.encode(signer)


def decode_definition(value: bytes) -> Statement:
    """Read a definition, its signature not looked at. Raises InvalidDefinition, as `open_definition` does."""
    return open_definition(value)[0]


def open_definition(value: bytes) -> tuple[Statement, Envelope]:
    """A definition and its envelope.

    Raises InvalidDefinition when it is none, breaks a limit, or its body is not what its digest says.
    """
    envelope = unseal(value, "definition")
    statement = read(envelope.signed, Statement, InvalidDefinition, "a definition")
    if envelope.key:
        check_limits(statement, len(value))
    if statement.size or statement.where:
        _check_reference(statement)
    elif digest_of(statement.body) != statement.digest:
        raise InvalidDefinition(f"{_told(statement)}: digest: the body's sha256 is not {statement.digest[:12]}…")
    return statement, envelope


def check_limits(statement: Statement, size: int) -> None:
    """Raises InvalidDefinition for a definition that is too large, or with a name that could be a path."""
    if size > MAX_DEFINITION:
        raise InvalidDefinition(f"{_told(statement)}: size: {size} bytes, at most {MAX_DEFINITION}")
    if not NAME.fullmatch(statement.namespace):
        raise InvalidDefinition(f"{_told(statement)}: namespace: {statement.namespace!r:.110}; allowed are {NAME_RULE}")
    if not _NUMBERED.fullmatch(statement.name):
        raise InvalidDefinition(f"{_told(statement)}: name: allowed are {NAME_RULE}, then perhaps ':' and a number")


def _check_reference(statement: Statement) -> None:
    if statement.kind != "model" or statement.body or statement.size < 1:
        raise InvalidDefinition(f"{_told(statement)}: size: {statement.size} bytes at {statement.where!r:.110}: "
                                "only models are said by reference, with a size and without a body")
    if not _PLACE.fullmatch(statement.where):
        raise InvalidDefinition(f"{_told(statement)}: where: {statement.where!r:.110} is no path below a store, as objects/<digest> is")
    if not re.fullmatch(r"[0-9a-f]{64}", statement.digest):
        raise InvalidDefinition(f"{_told(statement)}: digest: {statement.digest!r:.110}; allowed are 64 lower-case hex digits")


def _told(statement: Statement) -> str:
    return f"{statement.kind} {statement.name!r:.110}"
