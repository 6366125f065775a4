"""`swapstream topics`: creates the environment's topics with the settings their roles need, and shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import Environment, Topic, load_environment

LARGE = {"max.message.bytes": "12582912"}
SETTINGS: dict[str, dict[str, str]] = {"parameters": LARGE, "scores": LARGE, "features": LARGE, "dead_letters": LARGE}
"""By role: whole models travel on parameters, frames on scores and features, and anything at all is a dead letter."""


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
    compacted = {"cleanup.policy": "compact"} if topic.compacted else {}
    return {**SETTINGS.get(role, {}), **compacted, **topic.config}


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

    from swapstream.scripts.kafka import broker_errors, connect

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
        return _states(client, topics, created=set(missing))


def existing_topics(environment: Environment) -> set[str]:
    """Names of all topics on the broker."""
    with admin(environment) as client:
        return set(client.list_topics())


def _states(client: Any, topics: dict[str, Topic], created: set[str]) -> list[TopicState]:
    from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType

    names = [topic.name for topic in topics.values()]
    partitions = {found["name"]: len(found["partitions"]) for found in client.describe_topics(names)}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = client.describe_configs(resources, config_filter=ConfigFilterType.ALL)["topic"]
    states = []
    for role, topic in topics.items():
        wanted = wanted_settings(role, topic)
        found = {key: entry["value"] for key, entry in configs[topic.name].items()}
        states.append(TopicState(role, topic.name, "created" if topic.name in created else "exists",
                                 partitions[topic.name], {key: found.get(key, "") for key in wanted},
                                 difference(wanted, topic.partitions, found, partitions[topic.name])))
    return states


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
