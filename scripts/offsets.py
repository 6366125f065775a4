"""Where a new deployment starts to read telemetry: offsets, resolved once at submit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from kafka.errors import KafkaError

from swapstream.scripts.bounds import bounds
from swapstream.scripts.environment import Environment
from swapstream.scripts.topics import admin

Start = Literal["committed", "earliest", "latest"]


def start_offsets(environment: Environment, group: str, start: Start) -> dict[int, int]:
    """Partition → first offset to read, for every partition of telemetry.

    `latest` is the end that a read_committed reader sees. `committed` is where the group's last run had a completed
    checkpoint, and the earliest offset in partitions where it had none. Raises ClusterError.
    """
    there = bounds(environment, environment.topics.telemetry.name)
    if start == "latest":
        return {partition: one.end for partition, one in there.items()}
    committed = committed_offsets(environment, group) if start == "committed" else {}
    return {partition: max(one.first, committed.get(partition, 0)) for partition, one in there.items()}


def committed_offsets(environment: Environment, group: str) -> dict[int, int]:
    """What a consumer group has committed of telemetry, by partition; empty for a group that never was."""
    with admin(environment) as client:
        return committed_so_far(client, environment, group)


def committed_so_far(client: Any, environment: Environment, group: str) -> dict[int, int]:
    """The same by an admin client that is there, for whoever asks again and again."""
    committed = _when_coordinated(lambda: client.list_group_offsets(group)[group])
    return {partition.partition: found.offset for partition, found in committed.items()
            if partition.topic == environment.topics.telemetry.name}


def _when_coordinated(ask: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first question about a group makes a fresh broker create its topic of groups, and until then it answers "later"."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
