"""The keyring: a folder of signing keys, and which of them an environment's commands sign with.

    NAME.pem     a private key (PKCS#8), which nobody but its owner may read
    NAME.pub     its public bytes, to be handed to others
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm

from swapstream.models.errors import Conflict, InvalidSettings, UnknownName, Untrusted
from swapstream.operators.signing import Signer, public_from_pem, public_pem
from swapstream.operators.statement import NAME, NAME_RULE
from swapstream.scripts.environment import Environment

_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


class Keyring:
    """The keys in `directory`, which is made with the first of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Of the private keys."""
        return sorted(path.stem for path in self.directory.glob("*.pem"))

    def new(self, name: str) -> Signer:
        """Make a key. Raises Conflict where there is one of this name: keys are not overwritten."""
        path, signer = self._path(name, ".pem"), Signer.new()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise Conflict(f"key {name!r} is there already: {path}; choose another name") from error
        with os.fdopen(handle, "wb") as file:
            file.write(signer.to_pem())
        self._path(name, ".pub").write_bytes(public_pem(signer.public))
        return signer

    def signer(self, name: str) -> Signer:
        """A private key. Raises UnknownName, InvalidSettings for a file that others may read, or that is no key."""
        path = self._path(name, ".pem")
        if not path.is_file():
            raise UnknownName(f"key {name!r}: there is no {path}; keys there: {', '.join(self.names()) or 'none'}")
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise InvalidSettings(f"key {path}: others may read it (mode {mode:o}); make it yours alone with `chmod 600`")
        try:
            return Signer.from_pem(path.read_bytes())
        except _UNREADABLE as error:
            raise InvalidSettings(f"key {path}: not an Ed25519 private key without a password (PEM): {error}") from error

    def public(self, name: str) -> bytes:
        """The public bytes of a key, whose private part may be elsewhere. Raises UnknownName, InvalidSettings."""
        path = self._path(name, ".pub")
        return read_public(path) if path.is_file() else self.signer(name).public

    def at_hand(self) -> dict[str, str]:
        """Of the private keys: id to name."""
        return {self.signer(name).id: name for name in self.names()}

    def _path(self, name: str, suffix: str) -> Path:
        return self.directory / f"{check_name(name)}{suffix}"


def check_name(name: str) -> str:
    """The name of a key. Raises InvalidSettings for one that could be a path."""
    if not NAME.fullmatch(name):
        raise InvalidSettings(f"key {name!r:.110}: allowed are {NAME_RULE}")
    return name


def read_public(path: Path) -> bytes:
    """The public bytes in a file (PEM). Raises UnknownName, InvalidSettings."""
    try:
        return public_from_pem(path.read_bytes())
    except FileNotFoundError as error:
        raise UnknownName(f"public key {path}: no such file") from error
    except (OSError, *_UNREADABLE) as error:
        raise InvalidSettings(f"public key {path}: not an Ed25519 public key (PEM): {error}") from error


def own_key(environment: Environment) -> str:
    """The name of the key that commands sign with: setting `key`, or the only one there is. Raises Untrusted, InvalidSettings."""
    names = Keyring(environment.keyring).names()
    if environment.key:
        return environment.key
    if not names:
        raise Untrusted(f"there is no key to sign with in {environment.keyring}: `swapstream up` makes one for the broker that it starts; "
                        "for another make it with `swapstream keys new NAME`, and have it trusted with `swapstream keys trust NAME`")
    if len(names) > 1:
        raise InvalidSettings(f"{environment.keyring} holds the keys {', '.join(names)}: "
                              "say with the environment's setting `key` which one signs")
    return names[0]


def own_signer(environment: Environment) -> Signer:
    """The key that commands sign with. Raises Untrusted, UnknownName, InvalidSettings."""
    return Keyring(environment.keyring).signer(own_key(environment))
