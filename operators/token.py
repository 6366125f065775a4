"""Tokens: the small records in a telemetry partition at which a shard acts.

    0xC1 | msgpack envelope { v, signed: msgpack token, key, signature }

0xC1 is never used by msgpack and invalid in JSON, so that no reading starts with it.
"""

from __future__ import annotations

import msgspec

from swapstream.models.errors import InvalidToken
from swapstream.operators.definitions import Envelope
from swapstream.operators.wire import read

FIRST_BYTE = b"\xc1"
VERSION = 1
SWAP = "swap"


class Token(msgspec.Struct, frozen=True):
    """Addressed to one deployment, topic and partition. `parameters_end` says how far `parameters` must be read to judge it.

    `kind` is SWAP; a deployment rejects others of its own, and skips those of deployments that run a later release.
    `when` is in milliseconds since the epoch, `plan` a digest; epochs of a deployment only grow.
    """

    kind: str
    namespace: str
    deployment: str
    epoch: int
    plan: str
    topic: str
    partition: int
    parameters_end: int
    who: str
    when: int
    why: str

    def encode(self) -> bytes:
        return FIRST_BYTE + msgspec.msgpack.encode(Envelope(VERSION, msgspec.msgpack.encode(self)))

    @classmethod
    def decode(cls, payload: bytes) -> Token:
        """Raises InvalidToken for anything that starts like a token and is none of this release's."""
        envelope = read(payload[1:], Envelope, InvalidToken, "a token")
        if envelope.v != VERSION:
            raise InvalidToken(f"token of version {envelope.v}: this release reads version {VERSION}")
        return read(envelope.signed, cls, InvalidToken, "a token")
