"""Tokens: the small records in a telemetry partition at which a shard acts.

    0xC1 | msgpack envelope { v, signed: msgpack token, key, signature }

0xC1 is never used by msgpack and invalid in JSON, so that no reading starts with it.
"""

from __future__ import annotations

import msgspec

from swapstream.models.errors import InvalidToken
from swapstream.operators.envelope import Envelope, seal, unseal
from swapstream.operators.signing import Signer
from swapstream.operators.wire import read

FIRST_BYTE = b"\xc1"
SWAP, PREPARE, UPDATE, HANDOVER = "swap", "prepare", "update", "handover"
KINDS = (SWAP, PREPARE, UPDATE, HANDOVER)


def is_token(payload: bytes | None) -> bool:
    """Whether a message starts as tokens do, and no reading."""
    return (payload or b"").startswith(FIRST_BYTE)


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """Addressed to one deployment, topic and partition. `parameters_end` says how far `parameters` must be read to judge it.

    - kind: SWAP begins a plan. PREPARE asks whether a plan could begin, with the epoch it would have; it changes nothing. UPDATE begins
      a plan that travels in `body` (operators/update.py). HANDOVER begins a plan as SWAP does, and from there on another job carries
      the shard (operators/duty.py). A deployment rejects other kinds, and skips what is another's.
    - generation: of a HANDOVER the job that begins there, and `predecessor` the one that ends; of a PREPARE the only job that is asked,
      0: every one that answers for records.
    - when: milliseconds since the epoch. plan: a digest. Epochs of a deployment only grow.
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
    body: bytes = b""
    generation: int = 0
    predecessor: int = 0

    def encode(self, signer: Signer | None = None) -> bytes:
        return FIRST_BYTE + seal(msgspec.msgpack.encode(self), "token", signer)

    @classmethod
    def decode(cls, payload: bytes) -> Token:
        """What a token says, its signature not looked at. Raises InvalidToken for what starts like a token and is none."""
        return cls.open(payload)[0]

    @classmethod
    def open(cls, payload: bytes) -> tuple[Token, Envelope]:
        """What a token says, and the envelope that Definitions.check_token judges. Raises InvalidToken."""
        envelope = unseal(payload[1:], "token", InvalidToken)
        return read(envelope.signed, cls, InvalidToken, "a token"), envelope
