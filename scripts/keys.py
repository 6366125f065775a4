"""`swapstream keys`: who may sign what goes onto `parameters` and into telemetry, namespace by namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from swapstream.models.errors import InvalidSettings
from swapstream.operators.definitions import Definitions
from swapstream.operators.signing import key_id
from swapstream.operators.statement import digest_of
from swapstream.operators.trust import KeyMessage
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.keyring import Keyring, check_name, own_key, read_public
from swapstream.scripts.publish import author_of, read_definitions
from swapstream.scripts.renewal import renew
from swapstream.scripts.trusting import revoke, trust

namespace_option: Callable[[Any], Any] = click.option("--namespace", help="Of which namespace [default: the environment's].")
why_option: Callable[[Any], Any] = click.option("--why", default="", help="The reason, for the record.")
COLUMNS = ("namespace", "key", "name", "state", "since", "who", "at_hand")


@click.group("keys")
def keys_command() -> None:
    """Make signing keys, and say which of them a namespace trusts."""


@keys_command.command("new")
@click.argument("name")
@json_option
@click.pass_obj
def new_command(environment: str, name: str, as_json: bool) -> None:
    """Make the key NAME, on this machine alone.

    NAME.pem is private: keep it. NAME.pub is for others, who may have a namespace trust it.
    """
    keyring = Keyring(load_environment(environment).keyring)
    signer = keyring.new(name)
    row = {"key": signer.id, "name": name, "private": str(keyring.directory / f"{name}.pem"),
           "public": str(keyring.directory / f"{name}.pub")}
    show([row], ("key", "name", "private", "public"), as_json)


@keys_command.command("trust")
@click.argument("name", required=False)
@click.option("--public", type=click.Path(path_type=Path), help="Somebody else's key: the .pub file that they gave you.")
@namespace_option
@why_option
@json_option
@click.pass_obj
def trust_command(
    environment: str, name: str | None, public: Path | None, namespace: str | None, why: str, as_json: bool
) -> None:
    """Have a namespace trust the key NAME [default: your own], from now on.

    A namespace's first key trusts itself; from then on everything there must be signed by a key that it trusts, and it is those
    that say which others it trusts. A key is worth nothing in other namespaces.
    """
    found = load_environment(environment)
    space = namespace or found.job.namespace
    if public is not None and name is None:
        raise InvalidSettings(f"keys trust --public {public}: give the key a NAME as well")
    called = check_name(name or own_key(found))
    bytes_of_it = read_public(public) if public else Keyring(found.keyring).public(called)
    if not trust(found, space, called, bytes_of_it, why):
        say(f"namespace {space!r} trusts key {key_id(bytes_of_it)} already")
    listed(found, space, as_json)


@keys_command.command("revoke")
@click.argument("key")
@namespace_option
@why_option
@json_option
@click.pass_obj
def revoke_command(environment: str, key: str, namespace: str | None, why: str, as_json: bool) -> None:
    """No longer trust KEY, an id or a name as `keys list` shows them. What it signed before stays valid.

    Each deployment of the namespace is told so: its plan begins once more in the next epoch, by tokens that are younger than this.
    The last key that a namespace trusts can't be revoked: trust another one first.
    """
    found = load_environment(environment)
    space = namespace or found.job.namespace
    message = revoke(found, space, key, why)
    say(f"namespace {space!r} no longer trusts key {message.key} ({message.name})")
    for cut in renew(found, space, author_of(found, f"key {message.key} ({message.name}) is revoked")):
        say(f"{cut.namespace}/{cut.deployment}: told so in epoch {cut.epoch}")
    listed(found, space, as_json)


@keys_command.command("list")
@namespace_option
@json_option
@click.pass_obj
def list_command(environment: str, namespace: str | None, as_json: bool) -> None:
    """The keys that a namespace trusts or did trust, and those that are on this machine."""
    found = load_environment(environment)
    listed(found, namespace or found.job.namespace, as_json)


def listed(environment: Any, namespace: str, as_json: bool) -> None:
    """Print the keys of a namespace."""
    show(rows(read_definitions(environment), namespace, Keyring(environment.keyring).at_hand()), COLUMNS, as_json)


def rows(definitions: Definitions, namespace: str, at_hand: dict[str, str]) -> Iterator[dict[str, Any]]:
    """One a key; `at_hand`: id to name of the private keys here."""
    known = definitions.trust.keys(namespace)
    for message in known.values():
        yield row_of(definitions, namespace, message) | {"at_hand": message.key in at_hand}
    for key, name in at_hand.items():
        if key not in known:
            yield {"namespace": namespace, "key": key, "name": name, "state": "not trusted", "since": None, "who": None, "at_hand": True}


def row_of(definitions: Definitions, namespace: str, message: KeyMessage) -> dict[str, Any]:
    """What is known of a key by the last message about it."""
    said = definitions.statement(namespace, "key", digest_of(message.encode()))
    since = datetime.fromtimestamp(message.when / 1000, UTC).isoformat(timespec="seconds")
    return {"namespace": namespace, "key": message.key, "name": message.name,
            "state": "trusted" if message.trusts else "revoked", "since": since, "who": said.who if said else None}
