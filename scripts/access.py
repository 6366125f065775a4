"""What a user must be allowed to do on the broker for a deployment to run and be operated, and what of it is not allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
)

from swapstream.models.errors import ClusterError
from swapstream.scripts.connecting import who
from swapstream.scripts.environment import Environment
from swapstream.scripts.topics import admin

OPERATIONS: dict[str, tuple[str, ...]] = {
    "telemetry": ("Read", "Write"), "parameters": ("Read", "Write"), "scores": ("Write", "Read"), "features": ("Write", "Read"),
    "anomalies": ("Write", "Read"), "dead_letters": ("Write", "Read"), "ledger": ("Write", "Read"), "labels": ("Write", "Read"),
    "snapshots": ("Write", "Read")}
"""By role, for everything that the commands do: a swap writes telemetry and reads the ledger, `scores` reads scores."""
SUBMIT: dict[str, tuple[str, ...]] = {
    "telemetry": ("Read",), "parameters": ("Read", "Write"), "scores": ("Write",), "features": ("Write",), "anomalies": ("Write",),
    "dead_letters": ("Write",), "ledger": ("Write",), "snapshots": ("Write",)}
"""What a deployment can't do without."""


EVERYTHING = frozenset(("READ", "WRITE"))


class Right(msgspec.Struct, frozen=True):
    """Operations on a topic, a consumer group or a transactional id; `prefixed`: on all whose name begins so."""

    resource: Literal["topic", "group", "transactional id"]
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False


def rights(environment: Environment, operations: Mapping[str, tuple[str, ...]] = OPERATIONS) -> list[Right]:
    """What the user of an environment needs. Each operation includes Describe."""
    space, topics = environment.job.namespace, environment.topics.by_role()
    return [*(Right("topic", topics[role].name, wanted) for role, wanted in operations.items()),
            Right("group", f"{space}.", ("Read",), prefixed=True),
            Right("transactional id", f"swapstream.{space}.", ("Write",), prefixed=True),
            Right("transactional id", f"swapstream.controller.{space}.", ("Write",), prefixed=True)]


def require(environment: Environment, deployment: str, wanted: Sequence[Right] = ()) -> None:
    """Raises ClusterError naming the rights that the environment's user lacks, of those `wanted`: by default what `submit` needs."""
    with admin(environment) as client:
        missing = denied(client, wanted or rights(environment, SUBMIT), deployment)
    if missing:
        raise ClusterError(f"broker at {environment.broker.servers}: {who(environment)} may not {', '.join(missing)}; "
                           "conf/README.md names the rights that are needed")


def denied(client: Any, wanted: Iterable[Right], deployment: str) -> list[str]:
    """What the client's user is not allowed, as "Write on topic scores". Groups and ids are tried with a deployment's name.

    A topic that does not exist is not listed. Raises KafkaError.
    """
    wanted = list(wanted)
    allowed = _topics(client, [right.name for right in wanted if right.resource == "topic"])
    found: list[str] = []
    for right in wanted:
        if right.resource == "topic":
            mine = allowed.get(right.name, EVERYTHING)
            found += [f"{operation} on topic {right.name}" for operation in right.operations if operation.upper() not in mine]
        elif not _reachable(client, right, f"{right.name}{deployment}"):
            found.append(f"{right.operations[0]} on {right.resource} {right.name}*")
    return found


def _topics(client: Any, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """Topic → what is allowed, in capitals, for those that exist or may not be seen."""
    found: dict[str, frozenset[str]] = {}
    for topic in client.describe_topics(list(names)):
        if topic["error_code"] == TopicAuthorizationFailedError.errno:
            found[topic["name"]] = frozenset()
        elif not topic["error_code"]:
            found[topic["name"]] = frozenset(topic["authorized_operations"] or ())
    return found


def _reachable(client: Any, right: Right, name: str) -> bool:
    """Whether the name may at least be described, which is all that can be asked without doing it."""
    try:
        if right.resource == "group":
            client.list_group_offsets([name])
        else:
            client.describe_transactions([name])
    except (GroupAuthorizationFailedError, TransactionalIdAuthorizationFailedError):
        return False
    except TransactionalIdNotFoundError:
        return True
    except KafkaError as error:
        if not error.retriable:  # a fresh broker is still making its own topics
            raise
    return True
