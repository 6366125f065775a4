"""Which keys a namespace trusts, at which offset of `parameters`: it follows from the log alone.

A namespace trusts nobody at first, and takes what is not signed. Its first key trusts itself; from there on everything must be signed
by a key that is trusted at that place, other keys included. A key that is trusted in one namespace is worth nothing in another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.envelope import Envelope, What
from swapstream.operators.signing import PUBLIC_BYTES, key_id
from swapstream.operators.wire import check_version, read

VERSION = 1
Action = Literal["trust", "revoke"]


class KeyMessage(msgspec.Struct, frozen=True):
    """What a definition of kind "key" says: from its offset on a key is trusted, or no longer is. What it signed before stays valid.

    `public`: its 32 bytes, `name`: what people call it. `when`, in milliseconds since the epoch, must grow with each message about
    the key: an old one that is written again says nothing, even where compaction has removed the newer offset's.
    """

    key: str
    public: bytes
    action: Action
    name: str
    when: int
    v: int = VERSION

    @property
    def trusts(self) -> bool:
        return self.action == "trust"

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, body: bytes) -> KeyMessage:
        """Raises InvalidDefinition."""
        message = read(body, cls, InvalidDefinition, "a key message")
        check_version(message.v, VERSION, InvalidDefinition, "key message")
        if len(message.public) != PUBLIC_BYTES or message.key != key_id(message.public):
            raise InvalidDefinition(f"key {message.key!r:.40}: it is not the id of the public key beside it")
        return message


class Known(msgspec.Struct, frozen=True):
    """A key message that counts, and the offset from which it does."""

    offset: int
    message: KeyMessage


class Trust:
    """The key messages that count, by namespace and in the order of the log, in which they must be given."""

    def __init__(self) -> None:
        self._known: dict[str, list[Known]] = {}

    def add(self, offset: int, namespace: str, message: KeyMessage, envelope: Envelope) -> None:
        """Take a key message. Raises InvalidDefinition for one that may not be said, or that came before already."""
        known = self._known.setdefault(namespace, [])
        if any(one.offset == offset for one in known):
            return
        if any(one.offset > offset for one in known):
            raise InvalidDefinition(f"key {message.key}: key messages are read in the order of the log")
        if any(one.message.key == message.key and one.message.when >= message.when for one in known):
            raise InvalidDefinition(f"key {message.key}: when: {message.when} is not after the message about it before")
        if known:
            self.check(envelope, "definition", namespace, offset)
            self._check_remaining(namespace, message, offset)
        else:
            check_first(message, envelope)
        known.append(Known(offset, message))

    def check(self, envelope: Envelope, what: What, namespace: str, before: int | None = None) -> None:
        """Raises InvalidDefinition unless a key signed this that the namespace trusts by what lies below `before`."""
        if not self.demands(namespace, before):
            return
        if not envelope.key:
            raise InvalidDefinition(f"signature: none, and namespace {namespace!r} takes only what a trusted key has signed")
        public = self.trusted(namespace, envelope.key, before)
        if public is None:
            raise InvalidDefinition(f"signature: key {envelope.key:.40} is not trusted in namespace {namespace!r}")
        if not envelope.signed_by(public, what):
            raise InvalidDefinition(f"signature: it is not that of key {envelope.key} for this {what}")

    def demands(self, namespace: str, before: int | None = None) -> bool:
        """Whether a namespace takes only what is signed: it has trusted a key once."""
        return next(self._below(namespace, before), None) is not None

    def trusted(self, namespace: str, key: str, before: int | None = None) -> bytes | None:
        """The public bytes of a key that the namespace trusts by what lies below `before`."""
        message = self.keys(namespace, before).get(key)
        return message.public if message and message.trusts else None

    def keys(self, namespace: str, before: int | None = None) -> dict[str, KeyMessage]:
        """The last message about each key, by its id, in the order of their first."""
        return {known.message.key: known.message for known in self._below(namespace, before)}

    def _below(self, namespace: str, before: int | None) -> Iterator[Known]:
        known = self._known.get(namespace, [])
        return (one for one in known if before is None or one.offset < before)

    def _check_remaining(self, namespace: str, message: KeyMessage, offset: int) -> None:
        left = {key for key, last in self.keys(namespace, offset).items() if last.trusts} - {message.key}
        if not message.trusts and not left:
            raise InvalidDefinition(f"key {message.key}: nobody could sign in namespace {namespace!r} without it: trust another first")


def check_first(message: KeyMessage, envelope: Envelope) -> None:
    """Raises InvalidDefinition for a namespace's first key message unless the key trusts itself."""
    itself = message.trusts and envelope.key == message.key
    if not (itself and envelope.signed_by(message.public, "definition")):
        raise InvalidDefinition(f"signature: a namespace's first key trusts itself, and {message.key} has not signed this")

