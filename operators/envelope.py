"""The outermost bytes of what is said on `parameters` and in tokens: a version, what is signed, by which key, the signature."""

from __future__ import annotations

from typing import Literal

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.signing import Signer, verify
from swapstream.operators.wire import check_version, read

VERSION = 1
What = Literal["definition", "token"]


class Envelope(msgspec.Struct, frozen=True):
    """`signed` is msgpack; `key` the id of the key that signed it. Key and signature are empty where nothing is signed.

    The signature is of "swapstream WHAT", a zero byte and `signed`.
    """

    v: int
    signed: bytes
    key: str = ""
    signature: bytes = b""

    def signed_by(self, public: bytes, what: What) -> bool:
        """Whether the key with these public bytes signed this as a WHAT."""
        return verify(public, domain(what), self.signed, self.signature)


def domain(what: What) -> bytes:
    """What the signed bytes begin with, so that one kind of message can't be taken for another."""
    return f"swapstream {what}\0".encode()


def seal(signed: bytes, what: What, signer: Signer | None = None) -> bytes:
    """An envelope's bytes; without a signer nothing is signed."""
    if signer is None:
        return msgspec.msgpack.encode(Envelope(VERSION, signed))
    return msgspec.msgpack.encode(Envelope(VERSION, signed, signer.id, signer.sign(domain(what), signed)))


def unseal(data: bytes, what: What, error: type[InvalidDefinition] = InvalidDefinition) -> Envelope:
    """The envelope in `data`, its signature not looked at. Raises `error`."""
    envelope = read(data, Envelope, error, f"a {what}")
    check_version(envelope.v, VERSION, error, what)
    return envelope
