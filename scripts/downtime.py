"""How long nothing came out of a deployment, as the log of its output tells: from its last message to the next one."""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition
from kafka.admin import OffsetSpec

from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment
from swapstream.scripts.topics import admin


class OutputTimes:
    """When messages were put into scores, features and dead letters (ms, by the clock of the job that wrote them), committed or not.

    Other deployments that write the same topics are not told apart.
    """

    def __init__(self, environment: Environment) -> None:
        topics = environment.topics
        self._environment = environment
        self._topics = (topics.scores.name, topics.features.name, topics.dead_letters.name)

    def last(self) -> int | None:
        """Of the last message that there is. Raises ClusterError."""
        with admin(self._environment) as client:
            found = client.list_partition_offsets(dict.fromkeys(self._partitions(), OffsetSpec.MAX_TIMESTAMP))
        return max((int(one.timestamp) for one in found.values() if one.timestamp >= 0), default=None)

    def first_after(self, when: int) -> int | None:
        """Of the first message after a time. Raises ClusterError."""
        with admin(self._environment) as client:
            found: dict[Any, Any] = client.list_partition_offsets(dict.fromkeys(self._partitions(), when + 1))
        return min((int(one.timestamp) for one in found.values() if one.timestamp > when), default=None)

    def _partitions(self) -> list[TopicPartition]:
        counts = {topic: kafka.partition_count(self._environment, topic) for topic in self._topics}
        return [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
