"""Trusting and revoking keys in a namespace: what is said of them on `parameters`, and that it counts there."""

from __future__ import annotations

import time

from swapstream.models.errors import Conflict, InvalidDefinition, UnknownName, Untrusted
from swapstream.models.lineage import author
from swapstream.operators.definitions import Definitions
from swapstream.operators.signing import Signer, key_id
from swapstream.operators.statement import Statement, digest_of
from swapstream.operators.trust import Action, KeyMessage
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment
from swapstream.scripts.keyring import Keyring, own_signer
from swapstream.scripts.publish import read_definitions, write

FIRST = "own"
"""The name of the key that `up` makes."""


def trust(environment: Environment, namespace: str, name: str, public: bytes, why: str = "") -> bool:
    """Have a namespace trust a key; False where it does already.

    The first one trusts itself, so its private part must be at hand; later ones are trusted by the environment's key. Raises
    Untrusted, UnknownName, InvalidSettings, and Conflict where somebody else was quicker.
    """
    definitions = read_definitions(environment)
    if definitions.trusted(namespace, key_id(public)):
        return False
    demanded = definitions.trust.demands(namespace)
    signer = own_signer(environment) if demanded else Keyring(environment.keyring).signer(name)
    _tell(environment, definitions, namespace, _message("trust", name, public, definitions, namespace), signer, why)
    return True


def revoke(environment: Environment, namespace: str, which: str, why: str = "") -> KeyMessage:
    """No longer trust a key, given by its id or name. What it signed before stays valid.

    Raises UnknownName when the namespace trusts none such, Untrusted when it would be the last, or the key at hand may not say so.
    """
    definitions = read_definitions(environment)
    trusted = [message for message in definitions.trust.keys(namespace).values() if message.trusts]
    found = [message for message in trusted if which in (message.key, message.name)]
    if len(found) != 1:
        known = ", ".join(f"{message.key} ({message.name})" for message in trusted) or "none"
        problem = "several keys are called so: give the id" if found else "not trusted"
        raise UnknownName(f"key {which!r} in namespace {namespace!r}: {problem}; trusted: {known}")
    message = _message("revoke", found[0].name, found[0].public, definitions, namespace)
    _tell(environment, definitions, namespace, message, own_signer(environment), why)
    return message


def trust_first(environment: Environment) -> None:
    """Make a key where there is none, and have the environment's namespace trust it where that trusts nobody yet."""
    namespace = environment.job.namespace
    if read_definitions(environment).trust.demands(namespace):
        return
    keyring = Keyring(environment.keyring)
    name = environment.key or next(iter(keyring.names()), FIRST)
    if name not in keyring.names():
        say(f"key {keyring.new(name).id} is new: {keyring.directory / name}.pem; it signs what goes onto `parameters`")
    trust(environment, namespace, name, keyring.public(name), "the first")


def _message(action: Action, name: str, public: bytes, definitions: Definitions, namespace: str) -> KeyMessage:
    """One that is after every message about the key before, whatever the clock says."""
    key = key_id(public)
    before = definitions.trust.keys(namespace).get(key)
    return KeyMessage(key, public, action, name, max(int(time.time() * 1000), before.when + 1 if before else 0))


def _tell(
    environment: Environment, definitions: Definitions, namespace: str, message: KeyMessage, signer: Signer, why: str
) -> None:
    body = message.encode()
    statement = Statement("key", namespace, message.key, digest_of(body), author(), message.when, why, body)
    try:
        definitions.add(definitions.position, statement.encode(signer))
    except InvalidDefinition as error:
        raise Untrusted(f"{error}; nothing was written") from error
    last = write(environment, [statement], signer).trust.keys(namespace).get(message.key)
    if last != message:
        raise Conflict(f"key {message.key}: somebody else changed the keys of namespace {namespace!r} in the same moment; look again")
