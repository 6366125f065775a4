"""Where the partitions of a topic begin and end, as a read_committed reader sees it, and what lies where in between.

All raise ClusterError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import TopicPartition

from swapstream.scripts import kafka
from swapstream.scripts.connecting import broker_errors
from swapstream.scripts.environment import Environment


class Bounds(NamedTuple):
    """The offset of a partition's first record that is left, and the one behind its last."""

    first: int
    end: int


def bounds(environment: Environment, topic: str) -> dict[int, Bounds]:
    """By partition, in their order."""
    with _asked(environment, topic) as (client, partitions):
        firsts, ends = client.beginning_offsets(partitions), client.end_offsets(partitions)
    return {each.partition: Bounds(firsts[each], ends[each]) for each in partitions}


def end_offsets(environment: Environment, topic: str) -> dict[int, int]:
    """The next record of each partition."""
    return {partition: one.end for partition, one in bounds(environment, topic).items()}


def starts(environment: Environment, topic: str, count: int) -> dict[int, int]:
    """Partition → an offset from which at most `count` records follow."""
    return {partition: max(one.first, one.end - count) for partition, one in bounds(environment, topic).items()}


def is_whole(environment: Environment, topic: str) -> bool:
    """Whether nothing that was ever written to a topic has been deleted."""
    return not any(one.first for one in bounds(environment, topic).values())


def offsets_at(environment: Environment, topic: str, milliseconds: int) -> dict[int, int]:
    """Partition → the first offset whose message is not older; of partitions without one their end."""
    with _asked(environment, topic) as (client, partitions):
        ends = client.end_offsets(partitions)
        found = client.offsets_for_times(dict.fromkeys(partitions, max(0, milliseconds)))
    return {each.partition: ends[each] if found.get(each) is None else int(found[each].offset) for each in partitions}


@contextmanager
def _asked(environment: Environment, topic: str) -> Iterator[tuple[Any, list[TopicPartition]]]:
    """A client to ask, and the topic's partitions."""
    client = kafka.consumer(environment, topic)
    try:
        with broker_errors(environment):
            yield client, sorted(client.assignment())
    finally:
        client.close()
