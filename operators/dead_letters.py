"""Dead letters: input that could not be read, with the reason, where it lay, and its original bytes."""

from __future__ import annotations

import hashlib

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.wire import check_version, read

VERSION = 3
MAX_PAYLOAD = 512 * 1024


class DeadLetter(msgspec.Struct, frozen=True):
    """`timestamp` is log time in ms. `index`: the reading's place where only one of a message is bad; None: all of the message.

    A payload over MAX_PAYLOAD is left in telemetry: `payload` is None, `size` and `digest` name it. Of a message with several
    bad readings the first one's letter holds the payload.

    namespace, deployment: who could not read it, since version 3; empty before, and where no deployment did.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: str
    detail: str
    size: int
    digest: str
    payload: bytes | None
    index: int | None = None
    v: int = VERSION
    namespace: str = ""
    deployment: str = ""

    def is_of(self, namespace: str, deployment: str) -> bool:
        """Whether a deployment wrote this, as far as it tells: those of older versions may be anybody's."""
        return (self.namespace, self.deployment) in ((namespace, deployment), ("", ""))

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)


def decode_dead_letter(value: bytes) -> DeadLetter:
    """Read a message of `dead_letters`, of any version. Raises InvalidDefinition."""
    letter = read(value, DeadLetter, InvalidDefinition, "a dead letter")
    check_version(letter.v, VERSION, InvalidDefinition, "dead letter")
    return letter


def dead_letter(
    topic: str, partition: int, offset: int, timestamp: int, reason: str, detail: str, payload: bytes | None
) -> DeadLetter:
    """A dead letter for one message."""
    content = payload or b""
    kept = content if len(content) <= MAX_PAYLOAD else None
    return DeadLetter(
        topic, partition, offset, timestamp, reason, detail, len(content), hashlib.sha256(content).hexdigest(), kept
    )


def of_reading(letter: DeadLetter, index: int, reason: str, detail: str) -> DeadLetter:
    """The letter of one more bad reading of the same message."""
    return msgspec.structs.replace(letter, index=index, reason=reason, detail=detail, payload=None)
