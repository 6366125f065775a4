"""Dead letters: input that could not be read, with the reason, where it lay, and its original bytes."""

from __future__ import annotations

import hashlib

import msgspec

VERSION = 1
MAX_PAYLOAD = 512 * 1024


class DeadLetter(msgspec.Struct, frozen=True):
    """`timestamp` is log time in ms. A payload over MAX_PAYLOAD is left in telemetry: `payload` is None, `size` and `digest` name it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: str
    detail: str
    size: int
    digest: str
    payload: bytes | None
    v: int = VERSION

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)


def dead_letter(
    topic: str, partition: int, offset: int, timestamp: int, reason: str, detail: str, payload: bytes | None
) -> DeadLetter:
    """A dead letter for one record."""
    content = payload or b""
    kept = content if len(content) <= MAX_PAYLOAD else None
    return DeadLetter(
        topic, partition, offset, timestamp, reason, detail, len(content), hashlib.sha256(content).hexdigest(), kept
    )
