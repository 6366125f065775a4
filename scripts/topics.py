"""`swapstream topics`: creates the environment's topics with the settings their roles need, and shows them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import Environment, Topic, load_environment

LARGE = {"max.message.bytes": "12582912"}
WEEK = "604800000"
SETTINGS: dict[str, dict[str, str]] = {"parameters": LARGE, "scores": LARGE, "features": LARGE, "dead_letters": LARGE,
                                       "snapshots": {"cleanup.policy": "compact,delete", "retention.ms": WEEK}}
"""By role: whole models travel on parameters, frames on scores and features, and anything at all is a dead letter. Snapshots
are worth as much as the telemetry that follows them."""


class TopicState(msgspec.Struct, frozen=True):
    """A topic of the environment as it is; `differs` says how that is not what the environment asks for."""

    role: str
    topic: str
    state: str
    partitions: int
    settings: dict[str, str]
    differs: str


def wanted_settings(role: str, topic: Topic) -> dict[str, str]:
    """What the topic is created with; the environment's own `config` wins."""
    compacted = {"cleanup.policy": "compact" if topic.compacted else "delete"}
    return {**compacted, **SETTINGS.get(role, {}), **topic.config}


def difference(wanted: dict[str, str], partitions: int, found: dict[str, str], found_partitions: int) -> str:
    """How an existing topic is not as wanted, in words; empty when it is."""
    wrong = [f"{key} is {found.get(key)}, not {value}" for key, value in wanted.items() if found.get(key) != value]
    if partitions != found_partitions:
        wrong.insert(0, f"{found_partitions} partitions, not {partitions}")
    return "; ".join(wrong)


@contextmanager
def admin(environment: Environment) -> Iterator[Any]:
    """Kafka's admin client. Raises ClusterError when the broker is away or refuses."""
    from kafka.admin import KafkaAdminClient

    from swapstream.scripts.connecting import broker_errors, connect

    client = connect(environment, KafkaAdminClient)
    with broker_errors(environment):
        try:
            yield client
        finally:
            client.close()


def ensure_topics(environment: Environment) -> list[TopicState]:
    """Create the topics that are missing; existing ones are left as they are, and compared."""
    topics = environment.topics.by_role()
    with admin(environment) as client:
        there = set(client.list_topics())
        missing = {topic.name: {"num_partitions": topic.partitions, "replication_factor": -1,
                                "configs": wanted_settings(role, topic)}
                   for role, topic in topics.items() if topic.name not in there}
        if missing:
            client.create_topics(missing)
            client.wait_for_topics(list(missing))
        return compare_topics(environment, client, created=missing)


def existing_topics(environment: Environment) -> set[str]:
    """Names of all topics on the broker."""
    with admin(environment) as client:
        return set(client.list_topics())


def compare_topics(environment: Environment, client: Any, created: Collection[str] = ()) -> list[TopicState]:
    """Each topic as it is: created, exists, missing, or unreadable when its settings may not be read."""
    topics = environment.topics.by_role()
    there = {found["name"]: len(found["partitions"]) for found in client.describe_topics([topic.name for topic in topics.values()])
             if not found["error_code"]}
    configs = settings_of(client, list(there))
    states = []
    for role, topic in topics.items():
        wanted, found, partitions = wanted_settings(role, topic), configs.get(topic.name, {}), there.get(topic.name, 0)
        state = "missing" if not partitions else "created" if topic.name in created else "exists" if found else "unreadable"
        differs = difference(wanted if found else {}, topic.partitions, found, partitions) if partitions else ""
        states.append(TopicState(role, topic.name, state, partitions, {key: found.get(key, "") for key in wanted}, differs))
    return states


def settings_of(client: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Topic → setting → value, for those that may be read."""
    from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType

    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = client.describe_configs(resources, config_filter=ConfigFilterType.ALL).get("topic", {}) if names else {}
    return {name: {key: entry["value"] for key, entry in found.items()} for name, found in configs.items()}


def warn_of_differences(states: list[TopicState]) -> None:
    for state in states:
        if state.differs:
            say(f"topic {state.topic} is not as the environment says: {state.differs} (left as it is)")


@click.command("topics")
@json_option
@click.pass_obj
def topics_command(name: str, as_json: bool) -> None:
    """Create the environment's topics where they are missing, and show them.

    A topic that exists with another number of partitions or other settings is named, and left as it is.
    """
    states = ensure_topics(load_environment(name))
    warn_of_differences(states)
    rows = [msgspec.structs.asdict(state) for state in states]
    if not as_json:
        rows = [row | {"settings": "\n".join(f"{key}={value}" for key, value in row["settings"].items())}
                for row in rows]
    show(rows, ["role", "topic", "state", "partitions", "settings", "differs"], as_json)
