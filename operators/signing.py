"""Ed25519 signatures: who may say what goes onto `parameters` and into telemetry.

A key is known by its id, the first 16 hex digits of the sha256 of its public bytes. What is signed begins with what kind of message
it is in, so that a signed definition can't be taken for a token.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

PUBLIC_BYTES = 32
"""The size of a public key."""


def key_id(public: bytes) -> str:
    """The id of the key with these public bytes: 16 hex digits."""
    return hashlib.sha256(public).hexdigest()[:16]


def public_pem(public: bytes) -> bytes:
    """Public bytes as a file, to be handed to others."""
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_from_pem(data: bytes) -> bytes:
    """The public bytes out of a file. Raises ValueError for what holds no Ed25519 public key."""
    key = load_pem_public_key(data)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is not an Ed25519 key")
    return key.public_bytes_raw()


def verify(public: bytes, domain: bytes, signed: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of `signed` in this domain, by the key with these public bytes. About 0.1 ms."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, domain + signed)
    except (InvalidSignature, ValueError):
        return False
    return True


class Signer:
    """A private key. It is never shown: `repr` gives its id."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()
        self.id = key_id(self.public)

    @classmethod
    def new(cls) -> Signer:
        """A key that nobody has."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Signer:
        """The key of 32 bytes: the same each time."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, data: bytes) -> Signer:
        """A key out of a file. Raises ValueError, TypeError for what is none, or has a password."""
        key = load_pem_private_key(data, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("it is not an Ed25519 key")
        return cls(key)

    def to_pem(self) -> bytes:
        """The key as a file (PKCS#8)."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, domain: bytes, signed: bytes) -> bytes:
        """The signature of `signed` in this domain: 64 bytes, the same each time."""
        return self._key.sign(domain + signed)

    def __repr__(self) -> str:
        return f"Signer({self.id})"
